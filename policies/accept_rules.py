"""What an operator says of a cascade: its gates, its dearer checks, and what happens where there is no money for more.

Values alone; what follows from them is decided in `accept` and carried out in `execution.cascade`.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

GateName = Literal["finished", "not_refused", "not_empty", "valid_json", "valid_schema", "valid_tools", "regex",
                   "logprob", "repeated_tool_error"]  # fmt: skip
OnNoMoney = Literal["best", "error"]
Revise = Literal["off", "same", "next"]

GATES_USUAL: Final[tuple[GateName, ...]] = (
    *("finished", "not_refused", "not_empty"),
    *("valid_json", "valid_schema", "valid_tools"),
)


class Agree(Struct, frozen=True):
    """A second answer has to be the same: of another model, or of so many more samples of the rung's own."""

    model: str | None = None  # None: the rung's own
    samples: int = 1


class Judge(Struct, frozen=True):
    """A model that reads an answer by a rubric."""

    model: str
    rubric: str
    usd_nanos_a_day: int
    timeout_s: float = 30.0
    least: float = 0.7  # of its mark, in 0..1, for an answer to be accepted


class Verify(Struct, frozen=True):
    """A service of the operator's own that says whether an answer holds."""

    url: str
    timeout_s: float = 10.0


class CascadeRules(Struct, frozen=True):
    accept: tuple[GateName, ...] = GATES_USUAL
    pattern: str = ""  # for the gate `regex`
    hold: int | None = None  # tokens of a stream that are judged before the rest goes out; None: all of it
    on_no_money: OnNoMoney = "best"
    revise: Revise = "off"
    agree: Agree | None = None
    judge: Judge | None = None
    verify: Verify | None = None
    shadow: float = 0.0  # share of accepted answers that the last rung is asked for as well
    max_loss: float | None = None  # share of accepted answers that may be worse; None: no evidence is asked for
    shadow_usd_nanos_a_day: int = 5_000_000_000
    sticky: bool = True  # a run stays at the rung that answered it last, until moving down pays
    dear_share: float | None = None  # of calls that may begin at the last rung; None: where they begin is not learnt
