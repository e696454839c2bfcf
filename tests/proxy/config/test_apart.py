"""Whoever shares a store is told what each gate still counts by itself."""

from __future__ import annotations

from proxy.config.apart import apart
from proxy.config.file import Document
from proxy.config.load import Config, build

BASE = {"providers": {"s": {"kind": "simulated"}}, "models": {"m": "s/x"}, "pricing": {"unknown": "allow"}}
SHARED = {"redis": "redis://h", "gates": 3}
BUDGET = [{"usd": "5", "per": "day"}]


def config(**values: object) -> Config:
    return build(Document("f", {**BASE, **values}, {}), {})  # type: ignore[dict-item]


def test_one_gate_has_nothing_to_be_told() -> None:
    assert apart(config(defaults={"budget": BUDGET, "concurrency": 5})) == ()
    assert apart(config(shared=SHARED)) == ()


def test_budgets_count_in_each_gate_wherever_they_stand() -> None:
    for values in (
        {"defaults": {"budget": BUDGET}},
        {"agents": {"a": {"budget": BUDGET}}},
        {"teams": {"t": {"budget": BUDGET}}},
        {"keys": [{"key": "a-key-of-some-length", "budget": BUDGET}]},
    ):
        (note,) = apart(config(shared=SHARED, **values))
        assert note.startswith("budgets count in each gate by itself")
        assert "3 gates can spend 3 times as much" in note


def test_so_do_limits_on_calls_at_the_same_time() -> None:
    (note,) = apart(config(shared=SHARED, defaults={"concurrency": 5}))
    assert "at the same time" in note


def test_answers_that_may_not_leave_the_process_are_not_shared() -> None:
    cache = {"cache": {"exact": "on"}}
    assert apart(config(shared=SHARED, defaults=cache)) == ()
    (note,) = apart(config(shared=SHARED, defaults=cache, caches={"persist": False}))
    assert "persist" in note
