"""A tenant is a team, else a key, and never both by name; a run is known by its tenant and its name."""

from __future__ import annotations

import pytest

from proxy.tenancy import is_tenant, run_id, run_name, run_of, shown, split, tenant
from proxy.types import Identity


def test_keys_of_a_team_are_one_tenant_and_a_key_of_its_name_is_another() -> None:
    one, other = (Identity(key_id=key, agent="a", team="red") for key in ("k1", "k2"))
    alone = Identity(key_id="red", agent="a")
    assert tenant(one) == tenant(other) != tenant(alone)


def test_a_run_is_shared_by_the_keys_of_a_team_and_by_nobody_else() -> None:
    one, other = (Identity(key_id=key, agent="a", team="red", run="r") for key in ("k1", "k2"))
    strangers = [Identity(key_id="k1", agent="a", run="r"), Identity(key_id="k1", agent="a", team="blue", run="r")]
    assert run_of(one) == run_of(other) == run_id("team:red", "r")
    assert len({run_of(who) for who in (one, *strangers)}) == 3
    assert run_of(Identity(key_id="k1", agent="a", team="red", parent_run="r")) is None


@pytest.mark.parametrize("name", ["r", "a/b", "/", "team:blue/r", "run:key:k/r", "ü "])
def test_a_run_may_be_called_anything_and_its_id_names_one_tenant(name: str) -> None:
    id = run_id("team:red", name)
    assert split(id) == ("team:red", name)
    assert run_name(id) == name
    assert shown(f"run:{id}") == f"run:{name}"


def test_a_name_without_a_tenant_stays_a_name_and_other_accounts_are_shown_as_they_are() -> None:
    assert run_name("r") == "r"
    assert [shown(account) for account in ("run:r", "team:red", "agent:a/b")] == ["run:r", "team:red", "agent:a/b"]


@pytest.mark.parametrize("text", ["team:red", "key:open", "team:a:b"])
def test_what_a_tenant_is_called(text: str) -> None:
    assert is_tenant(text)


@pytest.mark.parametrize("text", ["", "red", "team:", "agent:a", "team:a/b"])
def test_what_no_tenant_is_called(text: str) -> None:
    assert not is_tenant(text)
