"""The process is described as every other Python process is: names, words and numbers of the client library."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from proxy.telemetry import process
from proxy.telemetry.text import OPENMETRICS, format_for

MOVES = re.compile(r"^((?:process_(?:cpu|resident|virtual|open)|python_gc)\S*) \S+$", re.MULTILINE)


@pytest.mark.parametrize("accept", ["", f"{OPENMETRICS}; version=1.0.0"])
def test_it_says_what_the_client_library_would(accept: str) -> None:
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    ours, theirs = process.written(format_for(accept)).decode(), choose_encoder(accept)[0](registry).decode()
    assert MOVES.sub(r"\1", ours) == MOVES.sub(r"\1", theirs)
    for name, within in (("process_resident_memory_bytes", 0.02), ("process_cpu_seconds_total", 0.2)):
        one, other = (float(re.findall(f"^{name} (.*)$", text, re.MULTILINE)[0]) for text in (ours, theirs))
        assert one == pytest.approx(other, rel=within)


def test_without_proc_the_interpreter_is_told_all_the_same(tmp_path: Path) -> None:
    text = process.written(format_for(""), tmp_path)
    assert b"process_" not in text
    assert b"python_info{" in text
