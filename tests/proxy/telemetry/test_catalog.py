from __future__ import annotations

import os
from pathlib import Path

from proxy.telemetry.catalog import FAMILIES
from proxy.telemetry.family import PREFIX

GOLDEN = Path(__file__).parents[2] / "golden" / "metrics.txt"


def declared() -> str:
    """Name, kind, labels with their lists, edges: what dashboards and rules of users rest on."""
    lines = []
    for family in FAMILIES:
        lines.append(f"{PREFIX}{family.name} {family.kind}")
        lines += [f"    {label.name}: {' '.join(label.values or ('(configuration)',))}" for label in family.labels]
        if family.ladder:
            lines.append(f"    le: {' '.join(map(str, family.ladder))}{' exemplars' if family.traced else ''}")
    return "\n".join(lines) + "\n"


def test_names_labels_and_ladders_are_those_that_were_promised() -> None:
    """HEADGATE_GOLDEN=write makes the file anew; review the difference, it breaks somebody's dashboard."""
    if os.environ.get("HEADGATE_GOLDEN") == "write":
        GOLDEN.write_text(declared())
    assert declared() == GOLDEN.read_text()


def test_names_follow_the_conventions() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))
    for family in FAMILIES:
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert bool(family.ladder) == (family.kind == "histogram"), family.name
        assert family.help.endswith("."), family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_nanos", "_cents")), family.name


def test_no_label_can_hold_an_id() -> None:
    forbidden = {"run", "task", "step", "user", "key", "key_id", "id", "request_id", "trace_id", "path", "tag", "tags"}
    for family in FAMILIES:
        assert not forbidden & {label.name for label in family.labels}, family.name
