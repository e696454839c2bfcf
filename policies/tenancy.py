"""Whose a call is where something is shared or kept apart: its team's, else its key's.

Prefixes say which of the two, so a team and a key of one name are not the same tenant.
"""

from __future__ import annotations

from proxy.types import Identity


def tenant(who: Identity) -> str:
    return f"key:{who.key_id}" if who.team is None else f"team:{who.team}"
