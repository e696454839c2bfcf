from __future__ import annotations

from proxy.config.batching import Batches
from proxy.snapshot import BatchRules


def test_the_defaults_of_the_file_are_those_of_the_gate() -> None:
    assert Batches().rules() == BatchRules()


def test_what_is_said_in_mib_and_days_means_bytes_and_seconds() -> None:
    rules = Batches(file_mb=2, files_mb=3, days=4, lines_max=5, concurrency=6).rules()
    assert rules == BatchRules(2 * 2**20, 3 * 2**20, 4 * 86_400.0, 5, 6)
