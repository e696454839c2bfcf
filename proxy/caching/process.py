"""Which process began a call, and whether it still lives. A number is not enough: after a restart, in a container above
all, another process may have it. So the name of one holds when it began.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NUMBER_DIGITS = 10  # so many are more than any system's number of a process has
START = 19  # of the fields after the name in Linux's /proc/PID/stat: in ticks since the machine began


def process(number: int) -> str:
    """Its name. Where the system does not say when it began: the number alone."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return f"{number}@"
    return f"{number}@{stat.rpartition(')')[2].split()[START]}"


def lives(name: str) -> bool:
    """A text that is no name stands for nobody."""
    digits = name.partition("@")[0]
    number = int(digits) if digits.isdecimal() and len(digits) < NUMBER_DIGITS else 0
    if number == 0:
        return False
    with suppress(PermissionError):  # another user's: there is one
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
    return process(number) == name
