from __future__ import annotations

from hashlib import blake2b

import msgspec
import pytest
from msgspec.structs import replace

from proxy.caching.kept import ENTRY_OVERHEAD, SUM_BYTES, belongs, kept_of, packed, unpacked
from tests.proxy.caching.samples import kept
from tests.proxy.telemetry.samples import CALL


def test_what_was_written_is_read() -> None:
    assert unpacked(packed(kept(), b"k"), b"k") == kept()
    unpriced = replace(kept(), cost_usd_nanos=None)
    assert unpacked(packed(unpriced, b"k"), b"k") == unpriced


@pytest.mark.parametrize(
    "data", [b"", b"\xff", msgspec.msgpack.encode({"body": b""}), packed(kept(), b"k")[:-3], None, "text", 7, 0.5]
)
def test_what_cannot_be_read_is_no_entry(data: object) -> None:
    assert unpacked(data, b"k") is None


def test_one_of_another_version_is_no_entry() -> None:
    data = msgspec.msgpack.encode({"body": b""})
    assert unpacked(blake2b(b"k" + data, digest_size=SUM_BYTES).digest() + data, b"k") is None


def test_no_bit_of_an_entry_is_believed_that_is_not_as_it_was_written() -> None:
    """A bit of the text alone leaves it readable."""
    data = packed(kept(), b"k")
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        assert unpacked(bytes(damaged), b"k") is None


def test_an_entry_is_one_under_its_own_name_alone() -> None:
    assert unpacked(packed(kept(), b"k"), b"l") is None


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
