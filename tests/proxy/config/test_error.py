from __future__ import annotations

from proxy.config.error import ConfigError


def test_it_holds_every_message_and_reads_as_lines() -> None:
    error = ConfigError(("a:1 x: wrong", "a:2 y: wrong"))
    assert error.messages == ("a:1 x: wrong", "a:2 y: wrong")
    assert str(error) == "a:1 x: wrong\na:2 y: wrong"
