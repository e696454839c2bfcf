from __future__ import annotations

import asyncio
import base64
import random
import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import Clock, SystemClock, day_wall, http_date, loop_time, secret_bytes, secret_token, today

TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")  # W3C Trace Context: lower case, and not all zeros


class At:
    """A clock of which only the wall is looked at."""

    def __init__(self, wall: float) -> None:
        self._wall = wall

    def now(self) -> float:
        raise AssertionError("a day is not told from monotonic time")

    def wall(self) -> float:
        return self._wall

    def id(self) -> str:
        raise AssertionError("a day needs no id")

    def rng(self, purpose: str) -> random.Random:
        raise AssertionError(f"a day is not drawn by chance: {purpose}")


@pytest.fixture(params=["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def timezone(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


# --- ids -------------------------------------------------------------------------------------------------------------


def test_ids_are_unique_and_valid_trace_ids() -> None:
    clock = SystemClock()
    ids = [clock.id() for _ in range(5_000)]
    assert len(set(ids)) == len(ids)
    assert all(TRACE_ID.fullmatch(id) for id in ids)


def test_an_id_is_a_valid_trace_id_even_at_the_beginning_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert TRACE_ID.fullmatch(SystemClock(7).id())


def test_ids_are_in_the_order_of_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ids = SystemClock(7), []
    for wall in (1.0, 999.999, 1_700_000_000.0, 1_700_000_000.002, 1_700_000_001.0, 4_000_000_000.0, 99_999_999_999.0):
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        ids.append(clock.id())
    assert ids == sorted(ids)
    assert {len(id) for id in ids} == {32}


def test_an_id_holds_its_millisecond() -> None:
    clock = SystemClock()
    before = clock.wall()
    made = int(clock.id()[:12], 16)
    assert int(before * 1000) <= made <= clock.wall() * 1000


def test_two_clocks_without_a_seed_share_no_id_within_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    one, other = SystemClock(), SystemClock()
    assert not {one.id() for _ in range(100)} & {other.id() for _ in range(100)}


# --- chance ----------------------------------------------------------------------------------------------------------


def draws(clock: Clock, purpose: str, count: int = 5) -> list[float]:
    return [clock.rng(purpose).random() for _ in range(count)]


def test_a_seed_gives_the_same_draws_again_and_another_seed_gives_others() -> None:
    assert draws(SystemClock(7), "race") == draws(SystemClock(7), "race")
    assert draws(SystemClock(7), "race") != draws(SystemClock(8), "race")
    assert draws(SystemClock(0), "race") == draws(SystemClock(0), "race")  # zero is a seed too
    assert draws(SystemClock(), "race") != draws(SystemClock(), "race")


def test_a_draw_for_one_purpose_moves_no_other() -> None:
    alone, disturbed = SystemClock(7), SystemClock(7)
    expected = draws(alone, "race")
    found = []
    for _ in expected:
        draws(disturbed, "hedge", 3)
        disturbed.id()
        found += draws(disturbed, "race", 1)
    assert found == expected


def test_purposes_have_streams_of_their_own_that_go_on() -> None:
    clock = SystemClock(7)
    assert draws(clock, "race") != draws(clock, "hedge")
    assert clock.rng("race") is clock.rng("race")
    assert draws(clock, "race") != draws(clock, "race")


def test_no_purpose_draws_what_the_ids_are_made_of() -> None:
    clock = SystemClock(7)
    assert f"{clock.rng('id').getrandbits(80):020x}" != clock.id()[12:]


def test_secrets_are_as_long_as_asked_and_never_the_same_again() -> None:
    assert len({secret_token() for _ in range(100)}) == len({secret_bytes() for _ in range(100)}) == 100
    assert [len(secret_bytes(count)) for count in (0, 1, 48)] == [0, 1, 48]
    assert len(base64.urlsafe_b64decode(secret_token(48))) == 48


# --- time ------------------------------------------------------------------------------------------------------------


async def test_loop_time_is_the_running_loops_and_so_is_a_clock_made_with_it() -> None:
    clock = SystemClock(now=loop_time)
    began = clock.now()
    await asyncio.sleep(3600.0)
    assert clock.now() == loop_time() == asyncio.get_running_loop().time() == began + 3600.0


def test_there_is_no_loop_time_without_a_loop() -> None:
    with pytest.raises(RuntimeError):
        loop_time()


def test_a_real_clock_runs_with_the_monotonic_one() -> None:
    before = time.monotonic()
    assert before <= SystemClock().now() <= time.monotonic()


# --- days ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "begins"),
    [
        ("1970-01-01", 0.0),
        ("1970-01-02", 86_400.0),
        ("2024-02-29", 1_709_164_800.0),
        ("2026-03-29", 1_774_742_400.0),  # clocks are put forward in Europe
        ("2026-11-22", 1_795_305_600.0),
    ],
)
def test_a_day_begins_at_midnight_in_utc_wherever_the_gate_runs(day: str, begins: float, timezone: str) -> None:
    assert day_wall(day) == begins, timezone
    assert today(At(begins)) == today(At(begins + 86_399.999)) == day
    assert today(At(begins + 86_400.0)) != day


@pytest.mark.parametrize("text", ["", "2026-13-01", "2026-02-29", "22.11.2026", "2026-11-22T00:00", "today"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        day_wall(text)


@given(st.floats(0.0, 4_102_444_800.0))
def test_every_instant_lies_in_its_day(wall: float) -> None:
    assert 0.0 <= wall - day_wall(today(At(wall))) < 86_400.0


def test_a_date_header_is_the_present_second_in_imf_fixdate() -> None:
    told = parsedate_to_datetime(http_date())
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", http_date())
    assert abs(told.timestamp() - SystemClock().wall()) < 5
