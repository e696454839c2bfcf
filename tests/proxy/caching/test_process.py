from __future__ import annotations

import os
import subprocess
import sys

import pytest

from proxy.caching.process import lives, process


def test_this_process_lives_and_is_itself() -> None:
    assert process(os.getpid()) == process(os.getpid())
    assert lives(process(os.getpid()))


def test_one_that_has_ended_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = process(child.pid)
    assert lives(name)
    child.communicate(b"\n")
    assert not lives(name)


def test_another_of_the_same_number_is_another() -> None:
    """As after a restart of a container, whose processes have the numbers of those before."""
    assert not lives(f"{os.getpid()}@1")


@pytest.mark.parametrize("name", ["", "@", "x@y", "-1@", "0@", "9" * 40 + "@1", "9" * 5000, "\u00b2@"])
def test_a_text_that_is_no_name_stands_for_nobody(name: str) -> None:
    assert not lives(name)
