"""What is kept of a call: what was decided on its way and how its stream came, for those who look at it afterwards, and
how far its reply has got, for another upstream to go on with it.

Decisions are kept as they fell, and put into words when the ledger writes them down: nobody waits for that. A call with
one target, for which nothing had to be decided, has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

NoHedgeKind = Literal["attempt_budget", "class_budget", "usd_budget", "run_budget", "busy", "brake", "breaker",
                      "no_alternative", "not_better", "deadline", "side_effects", "unknown"]  # fmt: skip

CacheName = Literal["exact", "replay", "semantic"]
LookUp = Literal["hit", "stale", "miss", "bypass"]  # `bypass`: the call is not for that cache, or its caller wants none
VoteResult = Literal["agreed", "plurality", "tie_broken", "split", "no_votes", "failed"]
LoopKind = Literal["repeat", "cycle", "text", "spend"]
LoopAction = Literal["annotate", "throttle", "refuse", "allow"]  # `allow`: the client wanted it so
ArmName = Literal["control", "candidate"]  # of an experiment
Culprit = Literal["model", "tools", "tool_order", "tool_choice", "setting", "system", "clock", "message"]

GIVEN_UP = "given up: "  # how the decision begins that ends a call which no client has made


class Considered(Struct, frozen=True):
    """One target that could have been asked: its score in expected seconds, or why it was left out."""

    target: str
    score_s: float | None = None
    why_not: str = ""


class Weighed(Protocol):
    """A choice that can say what it was made from, the chosen target first. May be asked from any thread."""

    @property
    def considered(self) -> tuple[Considered, ...]: ...


class Spared(Struct, frozen=True):
    """An attempt that was thought of and not made, and what forbade it."""

    role: Literal["retry", "hedge"]
    kind: NoHedgeKind


class Decision(Struct, frozen=True):
    """`at` is an instant of the loop's clock, `said` a sentence."""

    at: float
    said: str
    weighed: Weighed | None = None
    spared: Spared | None = None
    broke: Culprit | None = None  # what made the prompt differ from the one before

    @property
    def considered(self) -> tuple[Considered, ...]:
        return () if self.weighed is None else self.weighed.considered


class Climbed(Struct, frozen=True):
    """One rung of a cascade, tried. `why`: the check or the error that decided, `last`: nobody has to accept it."""

    tier: int
    model: str
    decision: Literal["accept", "escalate", "error"]
    why: str


class Reused(Struct, frozen=True):
    """An answer that was known already. `saved_usd_nanos` None: what it had cost is not known."""

    cache: CacheName
    age_s: float
    saved_usd_nanos: int | None
    saved_tokens: int  # of input and output
    key: str = ""  # of the entry, for whoever wants it gone
    similarity: float | None = None  # of the question that it answered to this one; None: it was this one
    bound: float | None = None  # the chance that it is wrong is not higher


class LookedUp(Struct, frozen=True):
    """What became of a call's question for a known answer, at one cache."""

    cache: CacheName
    result: LookUp


class Spell(Struct, frozen=True):
    """A stretch of a call's time before it was sent. `on`: what it waited for. Instants of the loop's clock."""

    kind: Literal["queue", "cache", "plan"]
    on: str
    began_at: float
    ended_at: float
    planned: bool  # its plan was made by then

    @property
    def lasted_s(self) -> float:
        return self.ended_at - self.began_at


class Gaps(Struct, frozen=True):
    """Seconds between the chunks of one stream, already counted into the edges of the CHUNK ladder."""

    counts: tuple[int, ...]  # one per edge, and one above the last
    sum_s: float


class ToolCall(Struct, frozen=True):
    """One that a model wants made. `arguments` as it wrote them: JSON, if it did well."""

    name: str
    arguments: str


class Said(Struct, frozen=True):
    """What one choice of a reply says."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None  # None: it has not ended
    refusal: str | None = None
    logprob_mean: float | None = None  # over its tokens, natural logarithms; None: the reply does not say

    def __repr__(self) -> str:
        """Without the text: it is the answer."""
        return f"Said({len(self.text)} characters, {len(self.tool_calls)} tool calls, {self.finish_reason!r})"


class Demand(Struct, frozen=True):
    """What a request asks of the form of its answer."""

    json: bool = False
    schema: bytes | None = None  # that the answer's JSON has to fit
    tools: Mapping[str, bytes | None] = {}  # by name, the schema of its arguments
    tool_due: bool = False  # the answer has to be a call of one

    def __repr__(self) -> str:
        """Without the schemas: they are part of the prompt."""
        return f"Demand(json={self.json}, {len(self.tools)} tools)"


class Begun(Struct, frozen=True):
    """How far a streamed reply has got in its client's hands. Empty: nothing has come yet."""

    text: str = ""
    tokens: int = 0  # about as many as the text has
    opening: bytes = b""  # the event with its id, time and model

    def __repr__(self) -> str:
        """Without the text: it is the answer."""
        return f"Begun({self.tokens} tokens)"


class Voted(Struct, frozen=True):
    """What became of a vote over several answers to one call. `counts`: those for each answer, the most first."""

    result: VoteResult
    counts: tuple[int, ...]
    size: int  # members that it is over, whether all had to be asked or not
    asked: int  # answers that were asked for
    missing: int = 0  # of the members that should have voted: they failed, or there was no money for them
    rounds: int = 0  # of a debate
    changed: bool | None = None  # whether the debate's answer is another than that of its first round; None: no debate

    @property
    def agreed(self) -> int:
        """With the answer that was given."""
        return self.counts[0] if self.counts else 0


class Looped(Struct, frozen=True):
    """A sign that a run goes round in circles, and what was done about it."""

    kind: LoopKind
    repeats: int  # the first time not counted
    period: int  # steps of one round
    tool: str = ""
    action: LoopAction = "annotate"


class ToolUse(Struct, frozen=True):
    """A tool that was asked for by a model, as the next request tells it."""

    tool: str
    arguments: bytes
    result: str

    def __repr__(self) -> str:
        """Without what was said: it is part of the prompt."""
        return f"ToolUse({self.tool!r})"


class Turn(Struct, frozen=True):
    """What a model wrote and asked for, and what came back."""

    text: str
    uses: tuple[ToolUse, ...] = ()
    heard: str = ""  # from the user

    def __repr__(self) -> str:
        """Without what was said: it is part of the prompt."""
        return f"Turn({len(self.text)} characters, {len(self.uses)} tools)"


class Mark(Struct, frozen=True):
    """How far a conversation was read, and the bytes in front of that."""

    end: int
    sample: bytes

    def __repr__(self) -> str:
        """Without the sample: it is part of the prompt."""
        return f"Mark({self.end})"


class Turns(Struct, frozen=True):
    """The turns of a conversation, the oldest first."""

    mark: Mark  # where the next look may begin
    turns: tuple[Turn, ...] = ()
    known: bool = False  # they follow those that were read before


class Arm(Struct, frozen=True):
    """Where a call stands in an experiment. `unit`: a digest of the run, agent or call that was assigned."""

    experiment: str
    name: ArmName
    unit: str
    shadowed: bool = False  # the candidate is asked the same, and its answer goes to nobody
