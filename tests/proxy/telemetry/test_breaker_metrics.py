"""Breakers in the metrics: their states as they are, their turns as they come, no name that a client made up."""

from __future__ import annotations

from typing import get_args

from policies.breaker_state import Reason
from proxy.telemetry.catalog import TURN, TURNS
from proxy.telemetry.metrics import Metrics
from tests.build import target


class Standing:
    def __init__(self) -> None:
        self.states = {"p/a": "open", "p/b": "half_open"}

    def state(self, id: str) -> str:
        return self.states.get(id, "closed")

    def rejected(self, id: str) -> int:
        return 7 if id == "p/a" else 0


def lines(metrics: Metrics, name: str) -> dict[str, float]:
    text = metrics.exposition("")[0].decode().splitlines()
    found = (line.rpartition(" ") for line in text if line.startswith(f"headgate_{name}{{"))
    return {labels.partition("{")[2].rstrip("}"): float(value) for labels, _, value in found}


def metrics() -> Metrics:
    return Metrics(("smart", "wild/*"), tuple(target(id) for id in ("p/a", "p/b", "q/*")))


def test_states_are_those_of_the_moment() -> None:
    made, breakers = metrics(), Standing()
    made.breakers.watch(("p/a", "p/b", "q/*"), breakers)
    states = lines(made, "breaker_state")
    assert {labels for labels, value in states.items() if value} == {
        'state="open",target="p/a"',
        'state="half_open",target="p/b"',
        'state="closed",target="q/*"',
    }
    assert len(states) == 9
    assert lines(made, "upstream_healthy") == {'target="p/a"': 0, 'target="p/b"': 0, 'target="q/*"': 1}
    assert lines(made, "breaker_rejected_total") == {'target="p/a"': 7, 'target="p/b"': 0, 'target="q/*"': 0}
    breakers.states.clear()
    assert lines(made, "upstream_healthy")['target="p/a"'] == 1


def test_a_model_has_as_many_healthy_targets_as_may_be_asked() -> None:
    made = metrics()
    made.breakers.watch_routes({"smart": ("p/a", "p/b"), "wild/*": ("q/*",)}, Standing())
    assert lines(made, "route_healthy_targets") == {'route="smart"': 1, 'route="wild/*"': 1}


def test_turns_are_counted_and_every_possible_one_is_there_from_the_start() -> None:
    made = metrics()
    born = lines(made, "breaker_transitions_total")
    assert len(born) == 3 * len(TURNS)
    assert not any(born.values())
    made.breakers.turned("p/a", "open", "consecutive")
    made.breakers.turned("q/made-up", "half_open", "waited")
    made.breakers.turned("r/elsewhere", "closed", "trial_ok")
    counted = {labels: value for labels, value in lines(made, "breaker_transitions_total").items() if value}
    assert counted == {
        'reason="consecutive",target="p/a",to="open"': 1,
        'reason="waited",target="q/*",to="half_open"': 1,
        'reason="trial_ok",target="other",to="closed"': 1,
    }


def test_every_reason_has_its_label() -> None:
    assert set(TURN.values or ()) == set(get_args(Reason))
