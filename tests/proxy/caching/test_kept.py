from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from proxy.caching.kept import ENTRY_OVERHEAD, belongs, kept_of, packed, unpacked
from tests.proxy.caching.samples import kept
from tests.proxy.telemetry.samples import CALL


def test_what_was_written_is_read() -> None:
    assert unpacked(packed(kept())) == kept()
    assert unpacked(packed(replace(kept(), cost_usd_nanos=None))) == replace(kept(), cost_usd_nanos=None)


@pytest.mark.parametrize("data", [b"", b"\xff", msgspec.msgpack.encode({"body": b""}), packed(kept())[:-3]])
def test_what_cannot_be_read_is_no_entry(data: bytes) -> None:
    assert unpacked(data) is None


def test_its_age_is_never_below_nothing_whatever_the_clock_does() -> None:
    assert kept(stored=100.0).age_s(107.0) == 7
    assert kept(stored=100.0).age_s(50.0) == 0


def test_its_answer_is_in_no_text_about_it() -> None:
    assert "secret" not in repr(replace(kept(), body=b"secret"))
    assert kept(100).size == 100 + ENTRY_OVERHEAD


@pytest.mark.parametrize(
    ("agent", "route", "means"),
    [
        (None, None, True),
        ("a", None, True),
        ("b", None, False),
        ("a", "m", True),
        ("a", "n", False),
        (None, "n", False),
    ],
)
def test_which_a_purge_means(agent: str | None, route: str | None, means: bool) -> None:
    assert belongs(kept(), agent, route) == means


def test_a_reply_is_kept_for_whom_it_was_made() -> None:
    made = kept_of(CALL, b"{}", "application/json", target="up/real", wall=100.0, ttl_s=5.0)
    assert (made.agent, made.route, made.target, made.until_wall) == ("planner", "smart", "up/real", 105.0)
