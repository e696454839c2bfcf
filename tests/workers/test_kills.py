"""What survives SIGKILL of any process of a gate: every settled call once, and no hold for longer than its call."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers import kills

pytestmark = pytest.mark.slow


def test_no_settled_call_is_lost_or_doubled_whoever_is_killed(tmp_path: Path) -> None:
    verdict = kills.run(tmp_path, 10, seed=3)
    assert verdict.right, verdict
    assert verdict.answers > 100
