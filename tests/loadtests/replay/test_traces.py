"""Made-up traffic has the shape of the recorded; the recorded is read where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.replay.recorded import INPUT_MAX, STEPS_MAX
from loadtests.replay.traces import CONVERSATION, SESSIONS, agents, conversation, found
from tests.conftest import TRACES

RECORDED = pytest.mark.skipif(
    not (TRACES / SESSIONS).exists(),
    reason="traces not found: set HEADGATE_TRACES to the folder that holds mooncake_conversation.jsonl.gz",
)
EITHER = pytest.mark.parametrize("folder", [None, pytest.param(TRACES, marks=RECORDED)], ids=["made up", "recorded"])


@EITHER
def test_runs_are_within_bounds_and_go_on_with_what_was_said(folder: Path | None) -> None:
    runs = agents(folder, 1, 50)
    assert [run.number for run in runs] == list(range(50))
    steps = [step for run in runs for step in run.steps]
    assert all(step.tokens <= INPUT_MAX + 20_000 and 0 <= step.think_s <= 60 for step in steps)
    assert all(1 <= len(run.steps) <= STEPS_MAX for run in runs)
    going_on = [
        after.blocks[: len(before.blocks)] == before.blocks
        for run in runs
        for before, after in zip(run.steps, run.steps[1:], strict=False)
    ]
    assert sum(going_on) > 0.7 * len(going_on)
    first = {block for step in runs[0].steps for block in step.blocks}
    assert not any(first & set(step.blocks) for run in runs[1:] for step in run.steps)


@EITHER
def test_a_conversation_shares_beginnings_and_comes_in_order(folder: Path | None) -> None:
    arrivals = conversation(folder, 1)
    assert len(arrivals) > 10_000
    assert [at for at, _ in arrivals] == sorted(at for at, _ in arrivals)
    seen: set[int] = set()
    shared = 0
    for _, request in arrivals:
        shared += sum(block in seen for block in request.blocks)
        seen.update(request.blocks)
    assert 0.2 < shared / sum(len(request.blocks) for _, request in arrivals) < 0.7


def test_the_same_seed_makes_the_same_runs() -> None:
    assert agents(None, 3, 5) == agents(None, 3, 5) != agents(None, 4, 5)


def test_a_folder_without_the_file_is_made_up_for(tmp_path: Path) -> None:
    assert agents(tmp_path, 1, 2) == agents(None, 1, 2)
    assert conversation(tmp_path, 1) == conversation(None, 1)


def test_the_folder_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_TRACES", str(tmp_path))
    assert found() == tmp_path
    monkeypatch.setenv("HEADGATE_TRACES", str(tmp_path / CONVERSATION))
    assert found() is None
