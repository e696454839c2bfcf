"""`headgate --version`, apart because reading an installed distribution's data takes longer than all of `--help`."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version


def show() -> int:
    try:
        sys.stdout.write(f"headgate {version('headgate')}\n")
    except PackageNotFoundError:
        sys.stdout.write("headgate, run from its sources\n")
    return 0
