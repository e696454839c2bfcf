"""Whether a run goes round in circles, and what is done about it: said at the third time, slowed down, then refused.

Four signs: the same tool asked for the same and answering the same; such steps with a period of up to six; texts that
hardly differ; steps that cost far more than the run's others and than its agent's. Step repetition is the commonest
way in which agents fail (MAST, Cemri et al., 2025).

Theory: to repeat oneself is no fault, to repeat oneself and learn nothing is. So all steps of a trail say whether they
brought anything that the twelve before had not, and for throttling and refusing only those count that came since the
last one that did. What is merely seen again (a test run after each edit) is annotated and never stopped. How steps are
read from a request is the dialect's business, where trails are kept `proxy.runs.loop_guard`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, Literal

from msgspec import Struct, json

from policies.simhash import NEAR_BITS, fingerprint, near
from proxy.errors import ProxyError
from proxy.observed import LoopAction, Looped, Turn

STEPS_MAX: Final = 12  # of a run that are remembered
PERIOD_MAX: Final = 6
ANNOTATED: Final = 2  # repeats, the first time not counted
THROTTLED: Final = 3
REFUSED: Final = 4
THROTTLE_S: Final = 2.0
SPEND_FACTOR: Final = 4.0
SPEND_LEAST: Final = 6  # steps before a run has a median that means anything
OVERRIDE: Final = "X-Headgate-Loop: allow"

LoopMode = Literal["off", "annotate", "on"]


class LoopRules(Struct, frozen=True):
    """`polling`: tools that may be asked for the same again and again."""

    mode: LoopMode = "annotate"
    polling: frozenset[str] = frozenset()


class Step(Struct, frozen=True, gc=False):
    """One turn of a run as digests. `text` 0: the model wrote none."""

    key: int  # all of it; equal for equal steps
    uses: tuple[tuple[int, int, str], ...]  # of each tool: what it was asked, what it answered as well, its name
    text: int
    heard: int  # what came back, from tools and from the user


def step_of(turn: Turn, polling: frozenset[str]) -> Step | None:
    """None: nothing but polling, or nothing at all."""
    uses = []
    for use in turn.uses:
        if use.tool not in polling:
            asked = hash((use.tool, canonical(use.arguments)))
            uses.append((asked, hash((asked, use.result)), use.tool))
    text = fingerprint(turn.text)
    if not uses and (turn.uses or not (text or turn.heard)):
        return None
    heard = hash((turn.heard, *[use.result for use in turn.uses]))
    said = tuple([use[1] for use in uses]) or (turn.text, turn.heard)
    return Step(hash(said), tuple(uses), text, heard)


def canonical(arguments: bytes) -> bytes:
    """JSON with its names in order and without white space; what is none, as it is."""
    try:
        return json.encode(json.decode(arguments), order="sorted")
    except (ValueError, RecursionError):
        return arguments.strip()


class Trail:
    """The last steps of one run, the newest last. Bounded, and holds no text."""

    __slots__ = ("_costs", "_idle", "_seen", "_steps", "_streaks", "last_dear")

    def __init__(self) -> None:
        self._costs: deque[int] = deque(maxlen=STEPS_MAX)
        self.last_dear = False  # the last step cost far more than those before
        self.forget()

    def __repr__(self) -> str:
        return f"Trail({len(self._steps)} steps, streaks {self._streaks[1:]})"

    def forget(self) -> None:
        """What is to come belongs to another conversation. What it has cost is the run's all the same."""
        self._steps: deque[Step] = deque(maxlen=STEPS_MAX)
        self._streaks = [0] * (PERIOD_MAX + 1)  # by period: steps on end that equal the one so many before
        self._idle = (0, 0)  # steps on end that made no new use of a tool, and those that heard nothing new
        self._seen = False  # something of the last step was there before; of most steps nothing was

    def add(self, step: Step) -> None:
        steps, streaks, keys = self._steps, self._streaks, [each.key for each in self._steps]
        same = step.key in keys
        for period in range(1, PERIOD_MAX + 1):
            again = same and len(keys) >= period and keys[-period] == step.key
            streaks[period] = streaks[period] + 1 if again else 0
        known = {use[1] for each in steps for use in each.uses}
        new = [use for use in step.uses if use[1] not in known]
        idle = not new if step.uses else streaks[1] > 0
        hears = step.heard in [each.heard for each in steps]
        self._idle = (self._idle[0] + 1 if idle else 0, self._idle[1] + 1 if hears else 0)
        self._seen = same or len(new) < len(step.uses) or self._written_before(step.text)
        steps.append(step)

    def _written_before(self, text: int) -> bool:
        return text != 0 and any((text ^ each.text).bit_count() <= NEAR_BITS for each in self._steps)

    def spent(self, usd_nanos: int) -> None:
        """Of a step that has ended."""
        costs = self._costs
        self.last_dear = len(costs) >= SPEND_LEAST and usd_nanos > SPEND_FACTOR * median(costs)
        costs.append(usd_nanos)

    def found(self, spend_bound: float | None) -> Looped | None:
        """The strongest sign, if there is one. `spend_bound`: what a step of the agent hardly ever costs, in
        nano-dollars; None: not known yet."""
        if not (self._seen or self.last_dear):
            return None
        signs = [*self._repeated(), *self._periodic(), *self._alike(), *self._dear(spend_bound)]
        strong = [sign for sign in signs if sign.repeats >= ANNOTATED]
        return max(strong, key=lambda sign: (sign.repeats, sign.period), default=None)

    # --- the four signs ----------------------------------------------------------------------------------------------

    def _repeated(self) -> Iterable[Looped]:
        if not self._steps:
            return
        before = list(self._steps)[-2::-1]  # the nearest first
        for asked, answered, tool in self._steps[-1].uses:
            times = _times_in(before, asked, answered)
            idle = _times_in(before[: self._idle[0]], asked, answered)
            yield Looped("repeat", max(min(times, ANNOTATED), idle), period=1, tool=tool)

    def _periodic(self) -> Iterable[Looped]:
        for period in range(2, PERIOD_MAX + 1):
            repeats = self._streaks[period] // period
            if repeats and not self._streaks[1]:
                uses = self._steps[-1].uses
                yield Looped("cycle", repeats, period=period, tool=uses[0][2] if uses else "")

    def _alike(self) -> Iterable[Looped]:
        if not self._steps or not self._steps[-1].text:
            return
        text, before = self._steps[-1].text, list(self._steps)[-2::-1]
        times = sum([near(text, step.text) for step in before])
        idle = sum([near(text, step.text) for step in before[: self._idle[1]]])
        yield Looped("text", max(min(times, ANNOTATED), idle), period=1)

    def _dear(self, bound: float | None) -> Iterable[Looped]:
        costs = self._costs
        if bound is None or not self.last_dear or costs[-1] <= bound:
            return
        least = max(bound, SPEND_FACTOR * median(costs))
        yield Looped("spend", sum([cost > least for cost in costs]), period=1)


def _times_in(before: Sequence[Step], asked: int, answered: int) -> int:
    """Steps with the same use, back to one in which the same question had another answer."""
    times = 0
    for step in before:
        same = [use[1] == answered for use in step.uses if use[0] == asked]
        if not all(same):
            break
        times += bool(same)
    return times


def action_of(repeats: int, mode: LoopMode, *, allowed: bool) -> LoopAction:
    """`allowed`: the client's own word."""
    if mode == "annotate" or repeats < THROTTLED:
        return "annotate"
    if allowed:
        return "allow"
    return "throttle" if repeats < REFUSED else "refuse"


def in_words(looped: Looped) -> str:
    tool = f" of {ascii(looped.tool)[1:-1][:64]!r}" if looped.tool else ""
    times = f"{looped.repeats} times more"
    if looped.kind == "repeat":
        return f"the same call{tool} had the same result {times}"
    if looped.kind == "cycle":
        return f"the same {looped.period} steps came {times}"
    if looped.kind == "text":
        return f"nearly the same text was written {times}"
    return f"{looped.repeats} of its last {STEPS_MAX} steps cost more than {SPEND_FACTOR:g} times its median"


def loop_detected(looped: Looped, run: str) -> ProxyError:
    shown = repr(ascii(run)[1:-1][:64])
    message = (
        f"The run {shown} goes round in circles: {in_words(looped)}. Change its course, or send `{OVERRIDE}` to go on."
    )
    details = {"run": run, "reason": looped.kind, "repeats": looped.repeats, "period": looped.period}
    return ProxyError("loop_detected", message, details={**details, "tool": looped.tool or None, "override": OVERRIDE})
