"""The doctor asks the store that gates share, and says what stands in the way of agreeing."""

from __future__ import annotations

from proxy.cli.doctor_finding import Finding
from proxy.cli.doctor_shared import shared
from proxy.config.file import Document
from proxy.config.load import build
from tests.redis_server import RedisServer, free_port

BASE = {"providers": {"s": {"kind": "simulated"}}, "models": {"m": "s/x"}, "pricing": {"unknown": "allow"}}
PEPPER = {"HEADGATE_PEPPER": "x" * 40}


def findings(settings: dict[str, object], environment: dict[str, str] = PEPPER) -> list[Finding]:
    config = build(Document("f", {**BASE, "shared": settings}, {}), {})  # type: ignore[dict-item]
    return list(shared(config, environment))


def test_without_a_store_there_is_nothing_to_say() -> None:
    assert findings({}) == []


def test_one_that_answers_is_well(redis: RedisServer) -> None:
    (found,) = findings({"redis": redis.url, "gates": 2, "timeout_ms": 5_000})
    assert found.state == "ok"
    assert "it answers in" in found.words


def test_one_that_does_not_is_a_warning_as_gates_go_on_without_it() -> None:
    (found,) = findings({"redis": f"redis://:pass@127.0.0.1:{free_port()}/0", "gates": 2})
    assert (found.state, found.words) == ("warning", "it does not answer: ConnectionError")


def test_gates_that_cannot_agree_are_told_why(redis: RedisServer) -> None:
    found = findings({"redis": redis.url, "timeout_ms": 5_000}, {})
    assert [each.state for each in found] == ["ok", "warning", "warning"]
    assert "HEADGATE_PEPPER is not set" in found[1].words
    assert "shared by one gate" in found[2].words
