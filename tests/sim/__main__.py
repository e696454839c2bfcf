"""Runs one seed and prints its timeline: `python -m tests.sim SEED`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.sim.invariants import violations
from tests.sim.world import live

with tempfile.TemporaryDirectory() as folder:
    told = live(int(sys.argv[1]), Path(folder))
print(*told.trace(), *violations(told), sep="\n")
