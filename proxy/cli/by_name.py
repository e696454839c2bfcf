"""Finds a function by name and loads its module then: the one place where an import waits until it is needed.

`headgate --help` must not pay for the HTTP stack, nor `headgate check` for the server.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module


def function(reference: str) -> Callable[..., int | None]:
    """`proxy.cli.keys:keys` is the function `keys` of that module."""
    module, _, name = reference.partition(":")
    found: Callable[..., int | None] = getattr(import_module(module), name)
    return found
