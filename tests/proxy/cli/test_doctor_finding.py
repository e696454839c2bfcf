from __future__ import annotations

from proxy.cli.doctor_finding import OUTCOMES, Finding, worst


def test_one_failure_outweighs_whatever_else_there_is() -> None:
    found = [Finding("x", state, "") for state in ("warning", "failed", "ok", "skipped")]
    assert worst(found) == "failed"
    assert worst(found[2:]) == "skipped"
    assert worst(()) == "ok"
    assert OUTCOMES[-1] == "failed"
