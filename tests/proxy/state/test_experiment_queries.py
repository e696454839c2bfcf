from __future__ import annotations

from pathlib import Path

import pytest

from proxy.state import experiment_queries
from proxy.state.experiment_queries import RESET, TRIAL, Kept, kept
from proxy.state.ledger import Ledger


def opened(tmp_path: Path) -> Ledger:
    walls = iter(range(1_000_000, 2_000_000))
    return Ledger.open(tmp_path / "ledger.db", wall=lambda: float(next(walls)))


async def test_the_latest_first_and_of_one_experiment_alone(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    for name, body in (("x", 1), ("y", 2), ("x", 3)):
        ledger.append_event(TRIAL, name, body)
    assert await ledger.query(lambda file: kept(file, "x")) == Kept(["3", "1"], "1970-01-12T13:46:40.000Z", False)
    assert await ledger.query(lambda file: kept(file, "z")) == Kept([], None, False)


async def test_what_was_before_a_new_beginning_counts_no_more(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.append_event(TRIAL, "x", 1)
    ledger.append_event(RESET, "x", {})
    ledger.append_event(RESET, "y", {})
    ledger.append_event(TRIAL, "x", 2)
    assert (await ledger.query(lambda file: kept(file, "x"))).bodies == ["2"]


async def test_so_many_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment_queries, "SAMPLES_MAX", 3)
    ledger = opened(tmp_path)
    for body in range(5):
        ledger.append_event(TRIAL, "x", body)
    found = await ledger.query(lambda file: kept(file, "x"))
    assert found == Kept(["4", "3", "2"], "1970-01-12T13:46:42.000Z", True)


async def test_it_is_found_by_an_index(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    plan = "EXPLAIN QUERY PLAN SELECT body FROM event WHERE kind = ? AND subject = ? AND seq > ? ORDER BY seq DESC"
    ((*_, said),) = await ledger.query(lambda file: file.execute(plan, [TRIAL, "x", 0]).fetchall())
    assert "event_subject" in said
