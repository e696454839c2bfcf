"""What was measured outlives the process that measured it, and a new beginning is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.experiment import Sample
from proxy.config.load import Config
from proxy.desks.experiments import Begun, ExperimentDesk
from proxy.errors import ProxyError
from proxy.state.ledger import Ledger

CONFIG = Config.model_validate(
    {
        "providers": {"sim": {"kind": "simulated"}},
        "models": {
            "large": {"targets": [{"provider": "sim", "model": "large"}]},
            "small": {"targets": [{"provider": "sim", "model": "small"}]},
            "test": {"experiment": {"control": "large", "candidate": "small", "share": 0.2}},
        },
    }
)


def desk(ledger: Ledger) -> ExperimentDesk:
    return ExperimentDesk(ledger, lambda: CONFIG)


async def test_a_report_is_the_same_after_a_restart(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    first = desk(ledger)
    for number in range(80):
        arm, nanos = ("candidate", 1_000_000) if number % 2 else ("control", 9_000_000)
        sample = Sample(arm, str(number), 1, nanos + 1_000 * number, duration_s=1.0, answered=True, score=0.5)  # type: ignore[arg-type]  # one of two
        first.keep("test", sample)
    (known,) = (await first.reports()).rows
    ledger.close()

    again = desk(Ledger.open(tmp_path / "ledger.db"))
    assert await again.report("test") == known
    cost = known.rows[0]
    assert (known.design.control, known.design.candidate, known.design.share) == ("large", "small", 0.2)
    assert (cost.control.calls, cost.candidate.calls, cost.verdict) == (40, 40, "lower")
    assert await again.reset("test") == Begun("test")
    assert (await again.report("test")).rows[0].control.calls == 0


async def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    made = desk(Ledger.open(tmp_path / "ledger.db"))
    for ask in (made.report, made.reset):
        with pytest.raises(ProxyError, match="no experiment has this name"):
            await ask("large")
    assert repr(made) == "ExperimentDesk(['test'])"
