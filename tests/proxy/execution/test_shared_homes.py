"""Two processes that map the file know of each other's runs; nobody else can read it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from policies.homes import BYTES, Home
from proxy.execution.shared_homes import NAME, shared_homes
from tests.sources import ROOT

WRITE = "import sys; from pathlib import Path; from policies.homes import Home; \
from proxy.execution.shared_homes import shared_homes; shared_homes(Path(sys.argv[1])).move(7, Home(1, 500), 10.0)"


def test_what_another_process_writes_is_seen_at_once(tmp_path: Path) -> None:
    homes = shared_homes(tmp_path)
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path)], cwd=ROOT, check=True)
    assert homes.find(7, 11.0) == Home(1, 500)


def test_the_file_is_the_owners_alone_and_of_fixed_size(tmp_path: Path) -> None:
    shared_homes(tmp_path)
    told = os.stat(tmp_path / NAME)
    assert (told.st_mode & 0o777, told.st_size) == (0o600, BYTES)
    assert told.st_blocks * 512 >= BYTES  # no hole that could turn out to have no room


def test_a_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        shared_homes(tmp_path / "none")
