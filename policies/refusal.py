"""A refusal of the accounts, in words and figures: which limits stand in the way, and when they will not any more.

402 when one of them never resets by itself, else 429 with the time until the last of them does. Either way an SDK's own
retries cannot help, so the answer says not to try. Amounts are in the limit's own unit; money is decimal text in USD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from policies.limits import Reason, Refusal, Shortfall
from policies.windows import iso
from proxy.errors import ProxyError
from proxy.tenancy import shown

NANOS: Final = 1_000_000_000
WHY: Final[Mapping[Reason, str]] = {
    "spent": "what is left of it does not pay this call",
    "held": "calls that are running hold the rest of it",
    "floor": "this call alone needs more than all of it",
    "overrun": "an earlier call cost more than was held for it, and the account is blocked",
    "lowered": "it was lowered below what was spent already",
    "cache_only": "it is nearly spent, and for this call there is no answer that is known already",
    "queue": "it is nearly spent, and waiting for it to ease was in vain",
}


def budget_exceeded(refusal: Refusal) -> ProxyError:
    shortfalls = refusal.shortfalls
    first = shortfalls[0]
    more = f" (and {len(shortfalls) - 1} more)" if len(shortfalls) > 1 else ""
    return ProxyError(
        "budget_exceeded",
        f"The budget of {_named(first)}{more} refuses this call: {WHY[first.reason]}. {_figures(first)}",
        status=refusal.status,
        retry_after_s=refusal.retry_after_s,
        details={"limits": [_details(shortfall) for shortfall in shortfalls]},
    )


def limits_in_words(error: ProxyError) -> list[str]:
    """A sentence for each limit that stands in the way. Of any other error: nothing."""
    limits = error.details.get("limits") if error.code == "budget_exceeded" else None
    return [_limit_in_words(limit) for limit in limits] if isinstance(limits, list) else []


def amount(unit: str, value: int) -> str | int:
    """Money as exact decimal text, everything else as it is counted."""
    if unit != "usd":
        return value
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole, rest = divmod(value, NANOS)
    return f"{sign}{whole}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')}"


def _named(shortfall: Shortfall) -> str:
    period = shortfall.period
    kind, _, name = shown(period.account).partition(":")
    window = "" if period.per == "total" else f" per {period.per}"
    unit = "USD" if period.unit == "usd" else period.unit
    return f"{kind} {ascii(name)[1:-1][:64]!r} in {unit}{window}"


def _figures(shortfall: Shortfall) -> str:
    unit = shortfall.period.unit
    shown = [amount(unit, value) for value in (shortfall.limit, shortfall.spent, shortfall.held, shortfall.needed)]
    resets = "" if shortfall.resets_wall is None else f" It resets at {iso(shortfall.resets_wall)}."
    return f"Limit {shown[0]}, spent {shown[1]}, held {shown[2]}, needed {shown[3]}.{resets}"


def _details(shortfall: Shortfall) -> dict[str, object]:
    period, unit = shortfall.period, shortfall.period.unit
    return {
        "account": shown(period.account),
        "carrier": shown(period.carrier),
        "unit": unit,
        "window": period.per,
        "limit": amount(unit, shortfall.limit),
        "spent": amount(unit, shortfall.spent),
        "held": amount(unit, shortfall.held),
        "needed": amount(unit, shortfall.needed),
        "resets_at": None if shortfall.resets_wall is None else iso(shortfall.resets_wall),
        "reason": shortfall.reason,
    }


def _limit_in_words(limit: Mapping[str, object]) -> str:
    window = "" if limit["window"] == "total" else f" per {limit['window']}"
    whose = f"{ascii(limit['account'])[1:-1]} in {limit['unit']}{window}"
    if limit["carrier"] != limit["account"]:
        whose += f", a limit of {ascii(limit['carrier'])[1:-1]}"
    why = next((words for reason, words in WHY.items() if reason == limit["reason"]), limit["reason"])
    figures = ", ".join(f"{name} {limit[name]}" for name in ("limit", "spent", "held", "needed"))
    end = "never ends by itself" if limit["resets_at"] is None else f"ends at {limit['resets_at']}"
    return f"refused by the budget of {whose}: {why}; {figures}; its window {end}"
