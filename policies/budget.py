"""What a call may take from its accounts: which they are, how long its answer may be, how much to hold for it.

An attempt holds its input and all the output it is allowed, at the dearest price. One strict limit on the path wants an
upper bound of the input, the others are content with the estimate and its margin. Soft limits in money, and limits in
tokens, hold the output that is usual, and more while it is made. The allowance shrinks to what the money that is left
can pay, down to a floor; below that the accounts refuse. What an ended attempt really cost is `policies.settle`'s word.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, structs

from policies import clamp
from policies.clamp import SILENT_SHARE, Clamp, Unpayable, Wish
from policies.estimate import Expected
from policies.settle import CONTEXT_TOKENS_MAX
from pricing.book import MAY_OCCUR, InputClass, hold_usd_nanos
from pricing.gpu import GpuForecast
from pricing.tokens import CALL_OVERHEAD, input_bound
from proxy.holds import Left
from proxy.types import Amounts, Call, Price, Target

OUTPUT_TOKENS_DEFAULT: Final = 4_096  # for a silent client of a model whose maximum is not known
OUTPUT_TOKENS_USUAL: Final = 1_024  # until it is known what is
HOLD_USD_NANOS_MAX: Final = 2**60  # a billion dollars; a client may ask for what no journal has the digits for
SILENT_ENDPOINTS: Final = frozenset({"embeddings", "moderations", "rerank"})  # they generate nothing
NO_LIMITS: Final = Left()


class Allowance(Struct, frozen=True):
    """What one attempt may produce and what is held for that. Output is that of all choices, thinking included."""

    amounts: Amounts
    input_tokens: int  # as held
    output_limit: int  # tokens of one choice, as the upstream counts them
    output_max: int  # all that the limit allows
    output_held: int  # less than that where a soft limit, or one in tokens, is met
    clamped: bool = False  # the upstream must be told the limit: it is below what the client asked for
    left: Left = NO_LIMITS
    may_occur: tuple[InputClass, ...] = MAY_OCCUR
    open: bool = False  # nobody named a limit and none is told: what is more than `output_max` is held as it comes
    time_usd_nanos: int = 0  # for the time of an engine of one's own

    @property
    def output_charged(self) -> int:
        """The output that the hold in money covers."""
        return self.output_held if self.left.soft and not self.left.hard else self.output_max


def path(call: Call, runs: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The accounts a call draws on, from the top down; absent levels are skipped. `runs` are those of its run and of
    all above it: a child run draws from its parent."""
    identity = call.identity
    levels = (f"key:{identity.key_id}", f"agent:{identity.agent}", *runs)
    return levels if identity.team is None else (f"team:{identity.team}", *levels)


def allowance(
    call: Call, target: Target, expected: Expected, left: Left = NO_LIMITS, *, output_max: int | None = None
) -> Allowance:
    """`output_max`: the plan's word on each choice, where it allows less than the client asked for."""
    found = as_asked(call, target, expected, left) if output_max is None else None
    return found or fitted(call, target, expected, left, output_max=output_max)


def as_asked(call: Call, target: Target, expected: Expected, left: Left) -> Allowance | None:
    """For most calls: nothing makes the answer shorter than the client asked for, and what it may cost is one sum. None
    for all others; `fitted` would say the same of these."""
    head, price, traits = call.head, target.price, target.traits
    if left.strict or left.soft or price is None or head.fields is None or call.endpoint in SILENT_ENDPOINTS:
        return None
    tokens = min(expected.input_margin, traits.context_tokens or CONTEXT_TOKENS_MAX)
    if tokens > len(call.raw) + CALL_OVERHEAD:
        return None  # there is a bound below that
    limit, most, free = head.output_tokens_max, traits.output_tokens_max, left.usd_nanos
    silent = limit is None
    if limit is None:
        limit = OUTPUT_TOKENS_DEFAULT if most is None else most
        free = None if free is None else free // SILENT_SHARE
    elif most is not None and most < limit:
        return None
    if not limit or price.per_second or expected.time is not None:
        return None
    may_occur = _may_occur(call, price)
    output = held = (limit + traits.reasoning_tokens_max) * head.choices
    usd_nanos = hold_usd_nanos(price, tokens, output, may_occur=may_occur)
    if usd_nanos > HOLD_USD_NANOS_MAX or (free is not None and usd_nanos > free):
        return None
    if left.tokens and expected.watched:
        held = min(output, (OUTPUT_TOKENS_USUAL if expected.q95 is None else expected.q95) * head.choices)
    amounts = Amounts(usd_nanos, tokens + held, 1, 1, 1)
    open = silent and most is None
    return Allowance(amounts, tokens, limit, output, held, False, left, may_occur, open)


def fitted(call: Call, target: Target, expected: Expected, left: Left, *, output_max: int | None = None) -> Allowance:
    """As `allowance`, whatever limits there are."""
    tokens = _input_tokens(call, target, expected, left)
    may_occur = _may_occur(call, target.price)
    head, traits = call.head, target.traits
    wish = Wish(
        tokens,
        head.output_tokens_max,
        traits.output_tokens_max,
        head.choices,
        allowed=output_max,
        apart=traits.reasoning_tokens_max,
        q95=expected.q95,
        otherwise=OUTPUT_TOKENS_DEFAULT,
        told=left.strict and head.fields is not None,
        may_occur=may_occur,
    )
    fits = _clamp(call, target.price, left, wish)
    limit, choices = fits.limit or 0, head.choices
    most = (limit + traits.reasoning_tokens_max) * choices if limit else 0
    held = most
    if expected.watched and (left.soft or left.tokens):
        held = min(most, (OUTPUT_TOKENS_USUAL if expected.q95 is None else expected.q95) * choices)
    silent = head.output_tokens_max is None and traits.output_tokens_max is None
    sized = Allowance(
        Amounts(),
        tokens,
        limit,
        output_max=most,
        output_held=held,
        clamped=fits.clamped,
        left=left,
        may_occur=may_occur,
        open=silent and not fits.clamped and limit > 0,
        time_usd_nanos=0 if expected.time is None else _time_usd_nanos(expected.time, left, most),
    )
    return structs.replace(sized, amounts=_amounts(sized, target.price))


def enlarged(held: Allowance, target: Target, *, input_tokens: int, output_tokens: int) -> Allowance:
    """The same for more input than was thought, or more output than is usual."""
    most = max(held.output_max, output_tokens) if held.open else held.output_max
    larger = structs.replace(
        held,
        input_tokens=max(held.input_tokens, input_tokens),
        output_max=most,
        output_held=min(most, max(held.output_held, output_tokens)),
    )
    return structs.replace(larger, amounts=_amounts(larger, target.price))


def reached(held: Allowance, target: Target, *, input_tokens: int, output_tokens: int) -> Amounts:
    """What of the hold would be needed if there were no more than this."""
    less = structs.replace(
        held,
        input_tokens=min(held.input_tokens, input_tokens),
        output_max=min(held.output_max, output_tokens),
        output_held=min(held.output_held, output_tokens),
    )
    return _amounts(less, target.price)


def lengthened(held: Allowance, target: Target, time_usd_nanos: int) -> Allowance:
    """The same for more of an engine's time."""
    longer = structs.replace(held, time_usd_nanos=time_usd_nanos)
    return structs.replace(longer, amounts=_amounts(longer, target.price))


def exposure_usd_nanos(held: Allowance, target: Target) -> int:
    """What the output limit allows beyond the hold."""
    if target.price is None or held.output_charged == held.output_max:
        return 0
    most = hold_usd_nanos(target.price, held.input_tokens, held.output_max, may_occur=held.may_occur)
    return most - held.amounts.usd_nanos


def _time_usd_nanos(time: GpuForecast, left: Left, output_tokens: int) -> int:
    """Who wants no overrun holds the engine until the deadline, as if nobody else were there."""
    return time.most_usd_nanos if left.strict else time.likely_usd_nanos(output_tokens)


def _amounts(of: Allowance, price: Price | None) -> Amounts:
    usd_nanos, soft = 0, None
    if price is not None and price.per_second:
        usd_nanos = min(HOLD_USD_NANOS_MAX, of.time_usd_nanos)
    elif price is not None:
        usd_nanos = _hold(of, price, of.output_charged)
        if of.left.soft and of.left.hard:
            soft = _hold(of, price, of.output_held)
    # Who wants no overrun in money must not be let down by the tokens.
    tokens = of.input_tokens + (of.output_max if of.left.strict else of.output_held)
    return Amounts(usd_nanos, tokens, requests=1, steps=1, concurrency=1, soft_usd_nanos=soft)


def _hold(of: Allowance, price: Price, output_tokens: int) -> int:
    return min(HOLD_USD_NANOS_MAX, hold_usd_nanos(price, of.input_tokens, output_tokens, may_occur=of.may_occur))


def _input_tokens(call: Call, target: Target, expected: Expected, left: Left) -> int:
    context = target.traits.context_tokens or CONTEXT_TOKENS_MAX
    likely = min(expected.input_margin, context)
    if not left.strict and likely <= len(call.raw) + CALL_OVERHEAD:
        return likely  # no bound is below that
    bound = input_bound(call.raw, call.head.fields, model=target.model, context_tokens=context)
    return bound if left.strict else min(likely, bound)


def _may_occur(call: Call, price: Price | None) -> tuple[InputClass, ...]:
    """Dearer classes than the usual ones count where the body can cause them."""
    if price is None:
        return MAY_OCCUR
    classes, usual = MAY_OCCUR, max(price.input_uncached, price.input_cache_write_5m)
    if price.input_cache_write_1h <= usual and price.input_audio <= usual and price.input_image <= usual:
        return classes  # the body need not be looked at
    find = call.raw.find  # `in` tries each word as a number first, and has an error made of that
    any_may = call.head.fields is None or find(b"\\u00") >= 0  # an escape can hide each of these words
    if price.input_cache_write_1h > usual and (any_may or find(b'"1h"') >= 0 or _writes_long(call)):
        classes = (*classes, "input_cache_write_1h")
    if price.input_audio > usual and (any_may or find(b"audio") >= 0):
        classes = (*classes, "input_audio")
    if price.input_image > usual and (any_may or find(b"image") >= 0):
        classes = (*classes, "input_image")
    return classes


def _writes_long(call: Call) -> bool:
    return call.hints is not None and call.hints.marks and call.hints.ttl == "1h"


def _clamp(call: Call, price: Price | None, left: Left, wish: Wish) -> Clamp:
    if call.endpoint in SILENT_ENDPOINTS:
        return Clamp(None, clamped=False)
    left_usd_nanos = left.usd_nanos if call.head.fields is not None else None  # no limit can be written into a form
    fits = clamp.output_limit(wish, price, left_usd_nanos=left_usd_nanos)
    if isinstance(fits, Unpayable):
        # What cannot be paid is asked for nevertheless: the accounts know which of them refuse it, and why.
        return Clamp(fits.floor, clamped=True)
    # A strict hold is true only if the upstream is told: the client may have used a name that it does not know.
    return Clamp(fits.limit, clamped=True) if wish.told and fits.limit is not None else fits
