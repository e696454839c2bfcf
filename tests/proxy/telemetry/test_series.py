from __future__ import annotations

import pytest

from proxy.observed import Gaps
from proxy.telemetry import ladders
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.family import NANOS, Family, Label
from proxy.telemetry.labels import Labels
from proxy.telemetry.series import BINDINGS_MAX, FAMILY_SERIES_MAX, SERIES_MAX, Table
from proxy.telemetry.text import OPENMETRICS, format_for
from tests.proxy.telemetry.samples import parsed

ROUTE, AGENT = Label("route"), Label("agent")
CALLS = Family(name="calls_total", kind="counter", help="Calls.", labels=(ROUTE, AGENT))
MONEY = Family(name="money_usd_total", kind="counter", help="Money.", per_unit=NANOS)
WAIT = Family(name="wait_seconds", kind="histogram", help="Wait.", labels=(ROUTE,), ladder=ladders.WAIT)
COST = Family(name="cost_usd", kind="histogram", help="Cost.", ladder=ladders.COST, per_unit=NANOS, traced=True)


def table(*families: Family, routes: int = 1, agents: int = 1) -> Table:
    labels = Labels(agents_max=100_000)
    labels.learn([f"r{n}" for n in range(routes)], [], agents=[f"a{n}" for n in range(agents)], models=[])
    return Table(families, labels)


def samples(made: Table) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and by the values of route, agent and edge."""
    return {
        (
            sample.name,
            tuple([sample.labels[name] for name in ("route", "agent", "le") if name in sample.labels]),
        ): sample.value
        for sample in parsed(written(made))
    }


def written(made: Table) -> str:
    pieces: list[bytes] = []
    form = format_for(OPENMETRICS)
    for _ in Exposition(made, form).turns(pieces):
        """To its end."""
    return (b"".join(pieces) + form.end).decode()


def test_the_same_labels_are_the_same_child() -> None:
    made = table(CALLS)
    made.numbers["calls_total"]["r0", "a0"].value += 2
    made.numbers["calls_total"]["r0", "a0"].value += 3
    assert samples(made) == {("headgate_calls_total", ("r0", "a0")): 5}


def test_a_value_outside_its_list_becomes_other() -> None:
    made = table(CALLS)
    made.numbers["calls_total"]["r0", "somebody"].value += 1
    made.numbers["calls_total"]["r0", "somebody else"].value += 1
    assert samples(made) == {("headgate_calls_total", ("r0", "other")): 2}


def test_a_wrong_number_of_labels_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="2 labels, not 1"):
        table(CALLS).numbers["calls_total"]["r0",]


def test_a_number_with_an_owner_is_asked_at_each_scrape() -> None:
    made, depth = table(CALLS), [7]
    made.numbers["calls_total"]["r0", "a0"].read = lambda: depth[0]
    assert samples(made)["headgate_calls_total", ("r0", "a0")] == 7
    depth[0] = 8
    assert samples(made)["headgate_calls_total", ("r0", "a0")] == 8


def test_dollars_do_not_drift() -> None:
    made = table(MONEY)
    for _ in range(100_000):
        made.numbers["money_usd_total"][()].value += 100_000_000  # ten cents, which no binary fraction is
    assert samples(made)["headgate_money_usd_total", ()] == 10_000.0


def test_buckets_are_cumulative_and_include_their_edge() -> None:
    made = table(WAIT)
    for value in (0.001, 0.0011, 2.0, 31.0):
        made.histograms["wait_seconds"]["r0",].observe(value)
    found = samples(made)
    at = {le: found["headgate_wait_seconds_bucket", ("r0", le)] for le in ("0.001", "0.005", "1.0", "2.0", "+Inf")}
    assert at == {"0.001": 1, "0.005": 2, "1.0": 2, "2.0": 3, "+Inf": 4}
    assert found["headgate_wait_seconds_count", ("r0",)] == 4
    assert found["headgate_wait_seconds_sum", ("r0",)] == pytest.approx(33.0021)


def test_counts_made_elsewhere_are_added_at_once() -> None:
    made = table(WAIT)
    gaps = Gaps(counts=(0, 2, *(0,) * 11, 1), sum_s=40.0)
    made.histograms["wait_seconds"]["r0",].add(gaps)
    made.histograms["wait_seconds"]["r0",].add(gaps)
    found = samples(made)
    assert found["headgate_wait_seconds_bucket", ("r0", "0.005")] == 4
    assert found["headgate_wait_seconds_bucket", ("r0", "+Inf")] == 6
    assert found["headgate_wait_seconds_sum", ("r0",)] == 80.0


def test_money_is_sorted_by_whole_nano_dollars() -> None:
    made = table(COST)
    made.histograms["cost_usd"][()].observe(25_000_000)
    made.histograms["cost_usd"][()].observe(25_000_001)
    found = samples(made)
    assert found["headgate_cost_usd_bucket", ("0.025",)] == 1
    assert found["headgate_cost_usd_bucket", ("0.05",)] == 2
    assert found["headgate_cost_usd_sum", ()] == 0.050000001


def test_a_bucket_keeps_its_newest_exemplar() -> None:
    made = table(COST)
    for trace_id in ("old", "new"):
        made.histograms["cost_usd"][()].observe_traced(25_000_000, trace_id, 1.5)
    ((kept, labels),) = [(each.exemplar, each.labels) for each in parsed(written(made)) if each.exemplar]
    assert (kept.labels, kept.value, float(kept.timestamp or 0)) == ({"trace_id": "new"}, 0.025, 1.5)
    assert labels == {"le": "0.025"}
    found = samples(made)
    assert found["headgate_cost_usd_bucket", ("0.01",)] == 0 and found["headgate_cost_usd_bucket", ("0.025",)] == 2


def test_a_full_family_folds_its_most_variable_label_and_loses_nothing() -> None:
    made = table(CALLS, routes=3, agents=4_000)
    calls = made.numbers["calls_total"]
    for route in range(3):
        for agent in range(4_000):
            calls[f"r{route}", f"a{agent}"].value += 1
    found = samples(made)
    assert len(found) <= FAMILY_SERIES_MAX and sum(found.values()) == 12_000
    assert calls.folds == 12_000 - 0.9 * FAMILY_SERIES_MAX + 1  # one place is kept for the fold of last resort
    others = {values for name, values in found if "other" in values}
    assert others == {("r1", "other"), ("r2", "other")}, "agents vary most, so they are folded; routes keep their names"


def test_a_family_never_exceeds_its_bound_even_when_every_label_varies() -> None:
    made = table(CALLS, routes=9_000, agents=9_000)
    for n in range(9_000):
        made.numbers["calls_total"][f"r{n}", f"a{n}"].value += 1
    found = samples(made)
    assert len(found) <= FAMILY_SERIES_MAX and sum(found.values()) == 9_000
    assert found["headgate_calls_total", ("other", "other")] > 0


def test_all_families_together_are_bounded_too() -> None:
    families = [Family(name=f"f{n}_total", kind="counter", help="F.", labels=(ROUTE,)) for n in range(9)]
    made = table(*families, routes=5_000)
    for family in families:
        for route in range(5_000):
            made.numbers[family.name][f"r{route}",].value += 1
    assert made.size <= SERIES_MAX + len(families) and sum(samples(made).values()) == 45_000


def test_remembered_label_values_are_bounded() -> None:
    made = table(CALLS)
    for n in range(BINDINGS_MAX + 100):
        made.numbers["calls_total"]["r0", f"unknown {n}"].value += 1
    assert len(made.numbers["calls_total"]) == BINDINGS_MAX
    assert samples(made) == {("headgate_calls_total", ("r0", "other")): BINDINGS_MAX + 100}
