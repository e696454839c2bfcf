from __future__ import annotations

from msgspec.structs import replace

from proxy.observed import Arm, ArmName, Decision
from proxy.types import Outcome, Plan
from tests.proxy.telemetry.samples import ATTEMPT, OUTCOME, metrics, scrape, value


def ended(arm: ArmName, cost: int, error: str | None = None) -> Outcome:
    plan = Plan("single", ((ATTEMPT.target,),), "", arm=Arm("smart", arm, "u"))
    attempt = replace(ATTEMPT, cost_usd_nanos=cost)
    said = (Decision(1.0, "in an arm"),)
    return replace(OUTCOME, plan=plan, attempts=(attempt,), decisions=said, error_code=error)


def test_calls_and_dollars_are_counted_by_arm() -> None:
    made = metrics(
        ended("control", 2_000_000_000),
        ended("control", 1_000_000_000, "upstream_error"),
        ended("candidate", 500_000_000),
        OUTCOME,
    )
    found = scrape(made, "experiment")
    assert value(found, "experiment_calls_total", experiment="smart", arm="control", result="answered") == 1
    assert value(found, "experiment_calls_total", experiment="smart", arm="control", result="error") == 1
    assert value(found, "experiment_calls_total", experiment="smart", arm="candidate", result="answered") == 1
    assert value(found, "experiment_usd_total", experiment="smart", arm="control") == 3.0
    assert value(found, "experiment_usd_total", experiment="smart", arm="candidate") == 0.5
