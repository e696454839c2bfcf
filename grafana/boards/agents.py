"""Who spends, on what? The bill itself is in the ledger; these panels show pace and shares."""

from __future__ import annotations

from grafana.boards.fleet import AGENT_BOARD
from grafana.frame import dashboard
from grafana.panels import Json, column_unit, lines, signed, stack, stat, table, text
from grafana.queries import ALWAYS, chosen, increase, increase_over, quantile, rate, rate_over, share

INPUT = 'kind=~"input_uncached|input_cached|input_cache_write_5m|input_cache_write_1h|input_audio|input_image"'
OUTPUT = 'kind=~"output|reasoning|output_audio"'
SPEND = chosen("spend_usd_total", "agent")


def now() -> list[Json]:
    yesterday = f'sum (increase(headgate_spend_usd_total{{agent=~"$agent",{ALWAYS}}}[1d] offset 1d))'
    return [
        text(
            "Where the bill is",
            "Metrics show pace and forget at a restart. What was paid, call by call, is in the ledger: "
            "`headgate spend`, or [the console]($console).",
        ),
        stat(
            "Last 24 hours",
            "What was spent, in US dollars. Compare with the day before; `headgate spend` says on which calls.",
            increase_over("1d", SPEND),
            unit="currencyUSD",
        ),
        stat(
            "The day before",
            "The 24 hours before those, in US dollars. Empty until the metrics reach back that far.",
            yesterday,
            unit="currencyUSD",
        ),
        stat(
            "30-day pace",
            "What a month costs at the pace of the last six hours, in US dollars. Too much: give its agents a budget.",
            rate_over("6h", SPEND) + " * 2592000",
            unit="currencyUSD",
        ),
    ]


def money() -> list[Json]:
    return [
        stack(
            "Spend by agent",
            "In US dollars an hour. One that climbs alone is a loop or a longer prompt: look at its runs.",
            (rate(SPEND, "agent") + " * 3600", "{{agent}}"),
            unit="currencyUSD",
        ),
        stack(
            "Spend by model",
            "In US dollars an hour. A dear model that should be rare: restrict `models` of the agent, or its key.",
            (rate(SPEND, "model") + " * 3600", "{{model}}"),
            unit="currencyUSD",
        ),
        lines(
            "Cost of a thousand calls",
            "In US dollars. It rises with prompts, not with traffic; a step is a change of the agent or its model.",
            (f"1000 * {share(SPEND, chosen('requests_total', 'agent'), 'agent')}", "{{agent}}"),
            unit="currencyUSD",
        ),
        lines(
            "Cost of a call, p95",
            "In US dollars, all attempts, by route. Far above the median there: some prompts are very long.",
            (quantile(0.95, "request_cost_usd", "route"), "{{route}} p95"),
            (quantile(0.5, "request_cost_usd", "route"), "{{route}} p50"),
            unit="currencyUSD",
        ),
    ]


def tokens() -> list[Json]:
    def of(kinds: str) -> str:
        return chosen("tokens_total", "agent", kinds)

    return [
        stack(
            "Tokens by kind",
            "Disjoint: cached input is not part of uncached input. Much uncached: prompts change near their beginning.",
            (rate(chosen("tokens_total", "agent"), "kind") + " > 0", "{{kind}}"),
            unit="short",
        ),
        lines(
            "Input out of prompt caches",
            "Share of an agent's input that a provider had in its cache, which costs a fraction. It falls when prompts "
            "break: `headgate explain` of a call names the place.",
            (share(of('kind="input_cached"'), of(INPUT), "agent"), "{{agent}}"),
            unit="percentunit",
        ),
        lines(
            "Reasoning",
            "Share of output that nobody reads. Much of it on plain work: lower the effort, or use a smaller model.",
            (share(of('kind="reasoning"'), of(OUTPUT), "agent"), "{{agent}}"),
            unit="percentunit",
        ),
        lines(
            "Refused by rate limits",
            "Calls by the limit they met, of the gate or of a target. For long: raise it, or let the agent pause.",
            (rate(chosen("rate_limited_total", "agent"), "agent", "limit"), "{{agent}} {{limit}}"),
            unit="reqps",
        ),
        signed(
            lines(
                "Saved by known answers",
                "In US dollars an hour, by agent and cache: what the answers had cost when they were bought.",
                (rate(chosen("cache_saved_usd_total", "agent"), "agent", "cache") + " * 3600", "{{agent}} {{cache}}"),
                unit="currencyUSD",
            )
        ),
    ]


def everyone() -> Json:
    made = table(
        "Agents",
        "The shown time, by agent. `unattributed` has no name of its own: bind keys to agents.",
        (increase(SPEND, "agent"), "Spend"),
        (increase(chosen("tokens_total", "agent"), "agent"), "Tokens"),
        (increase(chosen("requests_total", "agent"), "agent"), "Calls"),
        unit="short",
        links={"agent": AGENT_BOARD},
    )
    return column_unit(made, "Spend", "currencyUSD")


def board() -> Json:
    panels = [*now(), *money(), *tokens(), everyone()]
    return dashboard("headgate-agents", "Headgate / Agents", "Who spends, on what?", panels, choices=("agent",))
