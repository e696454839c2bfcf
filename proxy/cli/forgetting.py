"""What the commands that forget have in common: they name what is to go, or say that all of it is.

A command that forgets everything where nothing was named would be one slip away from doing so; `--all` has to be said.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from proxy.cli.asking import Refusal


def chosen(args: argparse.Namespace, names: Sequence[str], *, action: str, which: str) -> dict[str, object] | None:
    """The body of the order; None: it is to be shown only. `which`: begins the question to whoever said too little.

    Raises Refusal.
    """
    named = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.action != action:
        if named or args.all:
            raise Refusal(f"--{next(iter(named), 'all')} means something to `{action}` only", 2)
        return None
    if bool(named) == args.all:
        options = [f"--{name}" for name in names]
        raise Refusal(f"{which}? {' or '.join(filter(None, (', '.join(options[:-1]), options[-1])))}, or else --all", 2)
    return {"all": True} if args.all else named
