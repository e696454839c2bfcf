"""A load test's own word on itself is shown while it goes on giving it, and its names are bounded."""

from __future__ import annotations

from proxy.telemetry.labels import TESTS_MAX
from proxy.telemetry.load_metrics import SILENT_S
from tests.proxy.telemetry.samples import metrics, scrape


def test_a_load_test_is_shown_until_it_ends_or_falls_silent() -> None:
    made, at = metrics(), [100.0]
    load = made.of_load(lambda: at[0])
    assert not any("loadtest" in name for name, _ in scrape(made, "loadtest_"))
    load.told("nightly", "ramp", 12)
    of = frozenset({("test", "nightly"), ("scenario", "ramp")})
    assert scrape(made, "loadtest_") == {("loadtest_users", of): 12, ("loadtest_info", of): 1}
    at[0] += SILENT_S - 1
    load.told("nightly", "ramp", 7)
    at[0] += SILENT_S - 1
    assert scrape(made, "loadtest_") == {("loadtest_users", of): 7, ("loadtest_info", of): 1}
    at[0] += 1
    assert scrape(made, "loadtest_") == {("loadtest_users", of): 0, ("loadtest_info", of): 0}
    load.told("nightly", "ramp", 3)
    load.told("nightly", "ramp", 0)
    assert scrape(made, "loadtest_") == {("loadtest_users", of): 0, ("loadtest_info", of): 0}


def test_names_beyond_the_bound_are_other() -> None:
    made = metrics()
    load = made.of_load(lambda: 0.0)
    for number in range(3 * TESTS_MAX):
        load.told(f"test {number}", "ramp", 1)
    shown = {dict(labels)["test"] for _, labels in scrape(made, "loadtest_users")}
    assert len(shown) < TESTS_MAX
    assert "other" in shown
