from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from proxy.observed import Considered, Decision
from proxy.state import ledger_insert
from proxy.state.chain import GENESIS, link
from proxy.state.events import Event
from proxy.state.ledger_insert import ATTEMPT_NULLABLE, OUTCOME_NULLABLE, ROWS_PER_STATEMENT, Item, as_hashed, insert
from proxy.state.ledger_rows import entry
from proxy.state.ledger_schema import ATTEMPT_COLUMNS, OUTCOME_COLUMNS, SCHEMA, TOKEN_CLASSES, names
from proxy.types import Charge, Identity, Outcome, Period, Usage
from tests.proxy.state.samples import TEXTS, attempt, call, outcome, outcomes, refused


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.executescript(SCHEMA)
    return connection


@pytest.fixture
def file() -> sqlite3.Connection:
    return opened()


def written(file: sqlite3.Connection, *items: Item) -> list[sqlite3.Row]:
    insert(file, 1, items)
    return file.execute("SELECT * FROM outcome ORDER BY seq").fetchall()


def test_every_field_of_a_call_stands_in_its_own_column(file: sqlite3.Connection) -> None:
    who = Identity(
        key_id="key7",
        agent="planner",
        team="blue",
        agent_source="path",
        run="r9",
        run_source="header",
        parent_run="r8",
        step=3,
        depth=2,
        tags=(("env", "prod"),),
    )
    charged = Charge(Period("run:r9", "usd", "run", 0, "agent:planner"), 1_000, 7)
    done = replace(outcome(replace(call(), identity=who, client_retry=4)), config_version="v5", charges=(charged,))
    (row,) = written(file, done)
    stored = dict(row)
    assert len(stored.pop("hash")) == 32
    assert stored == {
        "seq": 1,
        "request_id": "req-1",
        "at_ms": 1_700_000_000_000,
        "key_id": "key7",
        "team": "blue",
        "agent": "planner",
        "agent_source": "path",
        "run": "r9",
        "run_source": "header",
        "parent_run": "r8",
        "step": 3,
        "depth": 2,
        "tags": '[["env", "prod"]]',
        "endpoint": "chat",
        "dialect": "openai",
        "model": "smart",
        "route": "smart",
        "stream": 1,
        "output_tokens_max": None,
        "input_tokens_estimate": 100,
        "deadline_s": 600.0,
        "client_retry": 4,
        "trace_id": "c0ffee",
        "plan_mode": "single",
        "plan_targets": "up/model | other/model",
        "plan_reason": "as configured",
        "target": "up/model",
        "served_by": "primary",
        "status": 200,
        "error_code": None,
        "error_source": None,
        "attempts": 1,
        "cost_usd_nanos": 1_000,
        "first_event_s": None,
        "duration_s": 2.0,
        "upstream_s": 1.5,
        "bytes_in": len(call().raw),
        "bytes_out": 77,
        "client_gone": 0,
        "config_version": "v5",
        "charges": '[[["run:r9","usd","run",0,"agent:planner"],1000,7]]',
        "decisions": None,
    }


def test_every_field_of_an_attempt_stands_in_its_own_column(file: sqlite3.Connection) -> None:
    usage = Usage(1, 2, 3, 4, 5, 6, 7, 8, 9, source="counted", flags=("clamped", "raised"))
    tried = replace(attempt("other/model", usage=usage), exposure_usd_nanos=700)
    insert(file, 5, [outcome(None, tried)])
    (row,) = file.execute("SELECT * FROM attempt").fetchall()
    assert dict(row) == {
        "call": 5,
        "position": 0,
        "number": 1,
        "role": "first",
        "target": "other/model",
        "provider": "other",
        "upstream_model": "model",
        "started_s": 0.25,
        "first_event_s": 0.5,
        "duration_s": 1.5,
        "lesson": "success",
        "status": 200,
        "error_code": None,
        "upstream_request_id": None,
        **dict(zip(TOKEN_CLASSES, range(1, 10), strict=True)),
        "usage_source": "counted",
        "usage_flags": "clamped raised",
        "price_id": "test",
        "held_usd_nanos": 5_000,
        "cost_usd_nanos": 1_000,
        "exposure_usd_nanos": 700,
        "gpu_s": None,
        "idle_usd_nanos": 0,
    }


def test_only_an_attempt_at_an_engine_of_ones_own_has_columns_for_its_time(file: sqlite3.Connection) -> None:
    timed = replace(attempt(number=2), gpu_s=0.75, idle_usd_nanos=11)
    insert(file, 1, [outcome(None, attempt(), timed)])
    rows = file.execute("SELECT number, cost_usd_nanos, gpu_s, idle_usd_nanos FROM attempt ORDER BY number").fetchall()
    assert [tuple(row) for row in rows] == [(1, 1_000, None, 0), (2, 1_000, 0.75, 11)]


class Weighing:
    considered = (Considered("up/model", 0.25), Considered("other/model", None, "it is out"))


DECIDED = (Decision(1.5, "up/model was lowest in score", Weighing()), Decision(1.75, "hedged after 0.25 s"))


def test_what_was_decided_stands_beside_the_call_and_nowhere_else(file: sqlite3.Connection) -> None:
    plain, decided = outcome(call("one")), replace(outcome(call("two")), decisions=DECIDED)
    one, two = written(file, plain, decided)
    assert one["decisions"] is None
    arrived_at = decided.call.arrived_at
    considered = [["up/model", 0.25, ""], ["other/model", None, "it is out"]]
    assert json.decode(two["decisions"]) == [
        [1.5 - arrived_at, "up/model was lowest in score", considered],
        [1.75 - arrived_at, "hedged after 0.25 s", []],
    ]
    assert len(two["hash"]) == 32


def test_the_token_classes_are_those_of_usage_in_its_order() -> None:
    assert Usage.__struct_fields__[: len(TOKEN_CLASSES)] == TOKEN_CLASSES


def test_zero_missing_and_unpriced_stay_three_things(file: sqlite3.Connection) -> None:
    free, unpriced = attempt(cost=0, usage=Usage()), attempt(cost=None)
    unbilled = replace(attempt(), usage=None, cost_usd_nanos=0)
    insert(file, 1, [outcome(None, free, unpriced, unbilled)])
    rows = file.execute("SELECT input_uncached, cost_usd_nanos FROM attempt ORDER BY position").fetchall()
    assert [tuple(row) for row in rows] == [(0, 0), (10, None), (None, 0)]
    assert file.execute("SELECT cost_usd_nanos FROM outcome").fetchone()[0] is None


@pytest.mark.parametrize("count", [1, ROWS_PER_STATEMENT - 1, ROWS_PER_STATEMENT, ROWS_PER_STATEMENT + 1, 50])
def test_any_number_of_calls_and_attempts_is_written_once(file: sqlite3.Connection, count: int) -> None:
    done = [outcome(call(f"r{n}"), *[attempt(number=m + 1) for m in range(n % 3 + 1)]) for n in range(count)]
    rows = written(file, *done, refused())
    assert [row["request_id"] for row in rows] == [f"r{n}" for n in range(count)] + ["req-1"]
    assert [row["seq"] for row in rows] == list(range(1, count + 2))
    counts = dict(file.execute("SELECT call, count(*) FROM attempt GROUP BY 1").fetchall())
    assert counts == {n + 1: n % 3 + 1 for n in range(count)}


@given(st.lists(outcomes(), max_size=20))
def test_the_short_form_and_the_full_one_leave_the_same_rows(done: list[Outcome]) -> None:
    short, full = opened(), opened()
    insert(short, 1, done)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_insert, "OUTCOME_DEFAULTS", None)
        patch.setattr(ledger_insert, "ATTEMPT_DEFAULTS", None)
        insert(full, 1, done)
    for query in ("SELECT * FROM outcome ORDER BY seq", "SELECT * FROM attempt ORDER BY call, position"):
        assert list(map(tuple, short.execute(query))) == list(map(tuple, full.execute(query)))


def test_a_usual_call_takes_the_short_form(file: sqlite3.Connection) -> None:
    statements: list[str] = []
    file.set_trace_callback(statements.append)
    insert(file, 1, [outcome(), outcome(replace(call(), client_retry=1))])
    assert ["client_retry" in text for text in statements if "INTO outcome" in text] == [False, True]
    assert ["input_audio" in text for text in statements if "INTO attempt" in text] == [False]


def test_text_and_numbers_that_sqlite_cannot_hold_are_kept_as_near_as_it_can(file: sqlite3.Connection) -> None:
    odd = Identity(key_id="k", agent="caf\udce9", run="a\0b", step=2**80, tags=(("\ud800", "x"),))
    huge = attempt(cost=2**90, usage=Usage(input_uncached=2**64))
    rows = written(file, outcome(call("before")), outcome(replace(call("odd"), identity=odd), huge))
    assert [row["request_id"] for row in rows] == ["before", "odd"]
    assert (rows[1]["agent"], rows[1]["run"], rows[1]["step"]) == ("caf?", "a\0b", 2**63 - 1)
    assert json.decode(rows[1]["tags"]) == [["?", "x"]]


# --- the chain


def read_back(file: sqlite3.Connection) -> list[tuple[bytes, list[object]]]:
    """(hash, what it covers) of every row in the file, in order."""
    found: dict[int, tuple[bytes, list[object]]] = {}
    of_outcome, of_attempt = names(OUTCOME_COLUMNS)[:-1], names(ATTEMPT_COLUMNS)
    for row in file.execute("SELECT * FROM outcome"):
        covered: list[object] = as_hashed([row[n] for n in of_outcome], [n in OUTCOME_NULLABLE for n in of_outcome])
        for tried in file.execute("SELECT * FROM attempt WHERE call = ? ORDER BY position", [row["seq"]]):
            covered += as_hashed([tried[n] for n in of_attempt], [n in ATTEMPT_NULLABLE for n in of_attempt])
        found[row["seq"]] = (row["hash"], covered)
    for row in file.execute("SELECT seq, at_ms, kind, subject, body, hash FROM event"):
        found[row["seq"]] = (row["hash"], list(row)[:-1])
    return [found[seq] for seq in sorted(found)]


EVENTS = st.builds(Event, st.integers(0, 2**50), st.sampled_from(("topup", "run")), TEXTS, TEXTS)


@given(st.lists(outcomes() | EVENTS | outcomes().map(entry), max_size=20))
def test_every_hash_is_found_again_from_what_the_file_gives_back(items: list[Item]) -> None:
    file = opened()
    last = insert(file, 1, items[:7])
    last = insert(file, 1 + len(items[:7]), items[7:], last)
    previous = GENESIS
    rows = read_back(file)
    assert len(rows) == len(items)
    for digest, covered in rows:
        assert digest == link(previous, covered)  # type: ignore[arg-type]
        previous = digest
    assert previous == last


@pytest.mark.parametrize("nullable", [True, False])
def test_nothing_and_the_empty_text_stay_two_things_for_the_chain(nullable: bool) -> None:
    assert as_hashed([None], [nullable]) != as_hashed([""], [nullable])
    assert as_hashed([0, 1.5, b"x", "t"], [nullable] * 4) == [0, 1.5, b"x", "t"]


def test_a_call_sent_by_another_process_leaves_the_same_row() -> None:
    own, sent = opened(), opened()
    done = outcome(None, attempt(), attempt(number=2))
    assert insert(own, 1, [done]) == insert(sent, 1, [entry(done)])


def test_a_group_is_written_whole_or_not_at_all(file: sqlite3.Connection) -> None:
    insert(file, 5, [outcome()])
    with pytest.raises(sqlite3.IntegrityError):
        insert(file, 4, [outcome(), outcome()])
    assert [row["seq"] for row in file.execute("SELECT seq FROM outcome")] == [5]


def test_an_event_stands_between_calls(file: sqlite3.Connection) -> None:
    insert(file, 1, [outcome(), Event(1_700_000_000_000, "topup", "run:r", "{}"), outcome()])
    (row,) = file.execute("SELECT seq, at_ms, kind, subject, body FROM event").fetchall()
    assert tuple(row) == (2, 1_700_000_000_000, "topup", "run:r", "{}")
    assert [row["seq"] for row in file.execute("SELECT seq FROM outcome")] == [1, 3]
