"""Samples survive the disk, and what a user would call a failure is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.load.record import Recorder, Sample, quantile, samples

GOOD = Sample("Plain", 1.0, 200, 0.5)


def test_there_and_back(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "samples.jsonl")
    kept = [GOOD, Sample("Streamer", 2.0, 429, 0.1, error="slow down", run="r")]
    for sample in kept:
        recorder.add(sample)
    assert list(samples(tmp_path / "samples.jsonl")) == kept


@pytest.mark.parametrize(
    ("sample", "failed"),
    [
        (GOOD, False),
        (Sample("Plain", 1.0, 429, 0.5), False),
        (Sample("Plain", 1.0, 500, 0.5), True),
        (Sample("Plain", 1.0, 0, 0.5), True),
        (Sample("Streamer", 1.0, 200, 0.5, whole=False), True),
        (Sample("Leaver", 1.0, 200, 0.5, whole=False, left=True), False),
    ],
)
def test_failures(sample: Sample, failed: bool) -> None:
    assert sample.failed == failed


def test_quantiles() -> None:
    assert quantile([], 0.5) == 0.0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0], 0.99) == 1.0
