from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from proxy.batches.lease import Lease


def test_one_holds_it_until_it_gives_it_up(tmp_path: Path) -> None:
    one, other = Lease(tmp_path), Lease(tmp_path)
    assert (one.take(), one.take(), other.take()) == (True, True, False)
    one.give_up()
    one.give_up()
    assert (other.take(), one.take()) == (True, False)
    other.give_up()


def test_a_process_that_dies_has_given_it_up(tmp_path: Path) -> None:
    taking = f"import os, pathlib, proxy.batches.lease as l\nassert l.Lease(pathlib.Path({str(tmp_path)!r})).take()\n"
    subprocess.run([sys.executable, "-c", f"{taking}os.kill(os.getpid(), 9)"], cwd=os.getcwd(), check=False)
    lease = Lease(tmp_path)
    assert lease.take()
    lease.give_up()
