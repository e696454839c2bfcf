"""A gate's row is JSON that reads back as it was."""

from __future__ import annotations

from msgspec import json

from proxy.state.gate_report import GateRow


def test_a_row_survives_its_way_to_a_command() -> None:
    row = GateRow("qwen", "tokens", 3, 250_000.0, 1_080_000.0, 0.9, None, waiting=2, parked=1, calls=4)
    assert json.decode(json.encode([row]), type=list[GateRow]) == [row]
