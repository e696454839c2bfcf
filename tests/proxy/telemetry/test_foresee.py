from __future__ import annotations

from proxy.errors import CODES
from proxy.telemetry.catalog import FAMILIES
from proxy.telemetry.family import Family
from proxy.telemetry.foresee import FORESEEN_SERIES_MAX, foreseen
from proxy.telemetry.labels import Labels
from proxy.types import Target
from tests.proxy.telemetry.samples import TARGETS


def family(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)


def labels(routes: int = 1, agents: int = 1, targets: tuple[Target, ...] = TARGETS) -> Labels:
    made = Labels(agents_max=1_000)
    made.learn([f"r{n}" for n in range(routes)], targets, agents=[f"a{n}" for n in range(agents)], models=[])
    return made


def test_every_combination_of_routes_agents_and_listed_values_is_foreseen() -> None:
    values = set(foreseen(family("requests_total"), labels(routes=2, agents=1)))
    assert len(values) == 2 * 2 * 7  # `unattributed` is an agent too
    assert ("r1", "unattributed", "cancelled") in values


def test_providers_and_models_are_paired_as_the_targets_pair_them() -> None:
    pairs = {values[2:] for values in foreseen(family("spend_usd_total"), labels())}
    assert pairs == {("p1", "fast"), ("p2", "deep"), ("p3", "*")}


def test_only_the_pairs_of_the_error_table_are_foreseen() -> None:
    assert set(foreseen(family("errors_total"), labels())) == {(rule.source, code) for code, rule in CODES.items()}


def test_a_metric_without_labels_has_its_one_child() -> None:
    assert list(foreseen(family("ledger_lag_seconds"), labels())) == [()]


def test_too_many_combinations_hold_the_widest_label_at_one_value() -> None:
    values = list(foreseen(family("requests_total"), labels(routes=20, agents=300)))
    assert {agent for _, agent, _ in values} == {"unattributed"} and len(values) == 20 * 7
    values = list(foreseen(family("requests_total"), labels(routes=2_000, agents=2)))
    assert {route for route, _, _ in values} == {"other"} and len(values) == 3 * 7


def test_no_configuration_foresees_more_than_its_bound() -> None:
    many = tuple(Target(id=f"p/{n}", provider="p", model=str(n), price=None) for n in range(500))
    for declared in FAMILIES:
        width = len(declared.ladder) + 3 if declared.ladder else 1
        assert len(list(foreseen(declared, labels(300, 300, many)))) * width <= FORESEEN_SERIES_MAX
