from __future__ import annotations

import pytest
from hypothesis import given
from msgspec import DecodeError
from msgspec.structs import replace

from proxy.state.ledger_rows import Entry, entry, pack, storable, unpack
from proxy.state.ledger_schema import ATTEMPT_COLUMNS, OUTCOME_COLUMNS
from proxy.types import Identity, Mode, Outcome, Plan, Usage
from tests import build
from tests.proxy.state.samples import attempt, call, outcome, outcomes, refused


def test_an_entry_has_a_value_for_every_column_but_the_number_and_the_hash() -> None:
    done = entry(outcome(None, attempt(), attempt(number=2)))
    assert len(done.outcome) == len(OUTCOME_COLUMNS) - 2
    assert [len(row) for row in done.attempts] == [len(ATTEMPT_COLUMNS) - 1] * 2
    assert [row[0] for row in done.attempts] == [0, 1]


def test_an_entry_knows_its_call_its_cost_and_its_end() -> None:
    done = entry(outcome(call("r1"), attempt(cost=5), attempt(cost=None, number=2), attempt(cost=7, number=3)))
    assert (done.request_id, done.cost_usd_nanos, done.ended_at) == ("r1", 12, 1_002.0)
    assert entry(refused()).cost_usd_nanos == 0


@pytest.mark.parametrize(("mode", "told"), [("cascade", "a/m > (b/m | c/m)"), ("quorum", "a/m, (b/m | c/m)")])
def test_a_plan_of_several_members_names_all_of_them_in_order(mode: Mode, told: str) -> None:
    small, large, other = (build.target(id=f"{name}/m") for name in "abc")
    members = (Plan("single", ((small,),), ""), Plan("single", ((large, other),), ""))
    planned = Plan(mode, members[0].steps, "r", members=members)
    assert told in entry(replace(outcome(), plan=planned)).outcome


@given(outcomes())
def test_an_entry_comes_out_of_its_packing_as_it_went_in(done: Outcome) -> None:
    made = entry(done)
    assert unpack(pack(made)) in (made, storable(made))


def test_what_cannot_be_packed_is_packed_as_near_as_can_be() -> None:
    odd = Identity(key_id="k", agent="caf\udce9", step=2**80)
    made = unpack(pack(entry(outcome(replace(call(), identity=odd), attempt(usage=Usage(input_uncached=2**64))))))
    assert "caf?" in made.outcome
    assert 2**63 - 1 in made.outcome
    assert 2**63 - 1 in made.attempts[0]


@pytest.mark.parametrize("data", [b"", b"\x00", pack(entry(outcome()))[:-1]])
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        unpack(data)


def test_whole_seconds_stay_floating_point_on_the_way() -> None:
    made = unpack(pack(Entry(("r", 2.0, 2), (), 0, 1.0)))
    assert [type(value) for value in made.outcome] == [str, float, int]
