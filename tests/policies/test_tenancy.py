"""A tenant is a team, else a key, and never both by name."""

from __future__ import annotations

from policies.tenancy import tenant
from proxy.types import Identity


def test_keys_of_a_team_are_one_tenant_and_a_key_of_its_name_is_another() -> None:
    one, other = (Identity(key_id=key, agent="a", team="red") for key in ("k1", "k2"))
    alone = Identity(key_id="red", agent="a")
    assert tenant(one) == tenant(other) != tenant(alone)
