"""What gates share is off by default, and an address that is none is refused before anything starts."""

from __future__ import annotations

import re

import pytest

from proxy.config import check
from proxy.config.error import ConfigError
from proxy.config.file import Document
from proxy.config.load import Config, build

MODELS = {"providers": {"s": {"kind": "simulated"}}, "models": {"m": "s/x"}, "pricing": {"unknown": "allow"}}


def config(**shared: object) -> Config:
    return build(Document("f", {**MODELS, "shared": shared}, {}), {})  # type: ignore[dict-item]


def test_nothing_is_shared_by_default() -> None:
    assert config().shared.redis is None
    assert (config().shared.gates, config().shared.prefix, config().shared.timeout_s) == (1, "headgate", 0.05)


@pytest.mark.parametrize("address", ["redis://h:6379/0", "rediss://:pass@h", "unix:///run/redis.sock"])
def test_addresses_of_a_store_are_secrets(address: str) -> None:
    shared = config(redis=address).shared
    assert shared.redis is not None
    assert shared.redis.reveal() == address
    assert address not in repr(shared)


@pytest.mark.parametrize("address", ["http://h", "localhost:6379", ""])
def test_what_is_no_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError, match="redis is an address that begins with redis://") as refused:
        config(redis=address)
    assert "localhost" not in str(refused.value)


def test_without_its_extra_it_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=re.escape("shared.redis: it needs the extra: pip install 'headgate[redis]'")):
        config(redis="redis://h")


def test_a_thousand_gates_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match="gates"):
        config(redis="redis://h", gates=1_000)
