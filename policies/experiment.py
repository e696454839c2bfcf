"""Which arm of an experiment a call belongs to, and what is remembered of it.

Units are assigned, not calls: a run (or an agent) stays in its arm for as long as the experiment has its name, as a
digest of both decides; no process has to remember it, and a larger share takes nobody out of the candidate's arm. In a
split each arm answers its own units. In a shadow the control answers everybody, and of a share of the units the
candidate is asked the same. After Kohavi, Tang and Xu, "Trustworthy Online Controlled Experiments" (2020).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, Literal

from msgspec import Struct

from proxy.observed import Arm, ArmName
from proxy.tenancy import tenant
from proxy.types import Call

Unit = Literal["run", "agent", "call"]
ExperimentMode = Literal["split", "shadow"]

ARMS: Final[tuple[ArmName, ArmName]] = ("control", "candidate")
DIGEST_BYTES: Final = 8


class Experiment(Struct, frozen=True):
    """`share`: of the units that the candidate answers, or is asked in the shadow."""

    name: str
    share: float
    unit: Unit = "run"
    mode: ExperimentMode = "split"
    usd_nanos_a_day: int = 0  # what a shadow may cost

    def assign(self, call: Call) -> Arm | None:
        """None: it is not looked at."""
        unit = blake2b(_framed(self.name, *_unit(self.unit, call)), digest_size=DIGEST_BYTES).digest()
        drawn = int.from_bytes(unit) / 256**DIGEST_BYTES < self.share
        if self.mode == "shadow":
            return Arm(self.name, "control", unit.hex(), shadowed=True) if drawn else None
        return Arm(self.name, "candidate" if drawn else "control", unit.hex())


class Sample(Struct, frozen=True, array_like=True):
    """What one call, or a word about one, adds to what is known of an arm.

    `calls`: 1, or 0 of what came beside a call: money for a judge, a score. `usd_nanos` None: it had no price.
    `answered` None: it cannot be told, as its client had left. Times in seconds, of answers alone.
    """

    arm: ArmName
    unit: str
    calls: int = 0
    usd_nanos: int | None = 0
    duration_s: float | None = None
    first_event_s: float | None = None
    answered: bool | None = None
    escalated: bool = False
    score: float | None = None  # in 0..1


def _unit(unit: Unit, call: Call) -> tuple[str, ...]:
    who = call.identity
    if unit == "agent":
        return "agent", who.agent
    if unit == "run" and who.run is not None:
        return "run", who.key_id if who.team is None else tenant(who), who.run  # whom no team owns stays in its arm
    return "call", call.cause or call.id  # a call without a run stands for itself


def _framed(*parts: str) -> bytes:
    """Each with its length before it: no two lists of parts read the same."""
    texts = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join([b"%d:%b" % (len(text), text) for text in texts])
