"""The table of a simulation."""

from __future__ import annotations

from pathlib import Path

from proxy.simulate.figures import figures
from proxy.simulate.report import report
from proxy.simulate.virtual import run
from proxy.simulate.world import Setting, lived
from tests.proxy.simulate.samples import config, runs


def test_one_side_has_a_column_and_two_have_what_changed(tmp_path: Path) -> None:
    sides = [
        figures(run(lived(config(m=model), runs(), Setting(), folder=tmp_path / model, step=lambda: None)))
        for model in ("b/large", "a/small", "a/nameless")
    ]
    head, rows = report(sides[0], None)
    assert head == ("figure", "today")
    assert dict(rows)["calls"] == "40"  # type: ignore[arg-type]  # each has two cells
    head, rows = report(sides[0], sides[1])
    assert head == ("figure", "today", "candidate", "change")
    told = {name: cells for name, *cells in rows}
    assert told["calls"] == ["40", "40", "+0.0%"]
    assert told["cost, USD"][2] == "-90.0%"
    assert told["answered by a/small"] == ["0.00%", "100.00%", "-"]
    told = {name: cells for name, *cells in report(sides[0], sides[2])[1]}
    assert told["whole call, s: p50"][1:] == ["-", "-"]
    assert told["error unpriced_model"] == ["0", "40", "-"]
