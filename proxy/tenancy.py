"""Whose a call is where something is shared or kept apart: its team's, else its key's. And what a run is known by.

Prefixes say which of the two, so a team and a key of one name are not the same tenant. A run is its tenant's: calls of
several keys of one team that name the same run are of one run, and another tenant's run of that name is another. Names
of teams and keys hold no slash, those of runs may, so the first slash of an id is where the run's name begins.
"""

from __future__ import annotations

from proxy.types import Identity


def tenant(who: Identity) -> str:
    return owner(who.key_id, who.team)


def owner(key_id: str, team: str | None) -> str:
    return f"team:{team}" if team else f"key:{key_id}"


def run_id(tenant: str, name: str) -> str:
    return f"{tenant}/{name}"


def run_of(who: Identity) -> str | None:
    """The id of the run that a call names; None: it names none."""
    return None if who.run is None else run_id(tenant(who), who.run)


def split(id: str) -> tuple[str, str]:
    """Tenant and name of a run."""
    whose, _, name = id.partition("/")
    return whose, name


def run_name(id: str) -> str:
    """As its client calls it; other tenants may use the same. Ledgers of before runs had tenants have names alone."""
    return split(id)[1] or id


def is_tenant(text: str) -> bool:
    kind, _, name = text.partition(":")
    return kind in ("team", "key") and name != "" and "/" not in name


def shown(account: str) -> str:
    """An account as its own calls know it: a run by its name."""
    kind, _, name = account.partition(":")
    return f"run:{run_name(name)}" if kind == "run" else account
