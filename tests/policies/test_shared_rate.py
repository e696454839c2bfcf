"""Several processes and one store: never more than the limit in all, whatever is lost between them."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from policies.rate_limit import Bucket, Limiter, RateRules, Rates
from policies.shared_rate import AGAIN_S, IDLE_S, SharedAccount, Slice, Told, grant_alone, parts
from tests.shared_store import Model


def account(rpm: int | None = 600, tpm: int | None = None, *, holders: int = 3, name: str = "agent:a") -> SharedAccount:
    return SharedAccount(name, Rates(rpm, tpm, None), processes=1, holders=holders)


def requests(of: SharedAccount) -> Slice:
    assert isinstance(of.requests, Slice)
    return of.requests


def fetch(store: Model, each: Slice, amount: int, now: float) -> Told:
    ask = each.ask(amount, now)
    (told,) = store.run([ask], now)
    each.heard(ask, told, now)
    return told


# --- what is in hand --------------------------------------------------------------------------------------------------


def test_a_slice_is_a_second_of_the_limit_and_all_slices_a_tenth_of_it_at_most() -> None:
    assert Slice("x", 600, 3).size == 10
    assert Slice("x", 600, 30).size == 2
    assert Slice("x", 30, 3).size == 0  # each call asks


def test_what_lies_in_hands_is_taken_out_of_the_stores_bucket_once_and_for_all() -> None:
    assert Slice("x", 600, 3).ask(1, 0.0).room == 600 - 3 * 10


def test_most_calls_ask_nobody() -> None:
    store, of = Model(), account()
    store.born = -inf
    asked = 0
    for _ in range(110):
        if not of.fits(0, 1_000.0):
            fetch(store, requests(of), 1, 1_000.0)
            asked += 1
        of.take(0, 1_000.0)
    assert asked == 10


def test_limits_of_one_call_are_granted_together_or_not_at_all() -> None:
    store, of = Model(), account(600, 1_000)
    store.born = -inf
    asks = [each.ask(amount, 1_000.0) for each, amount in parts([of], 900)]
    assert [told.got > 0 for told in store.run(asks, 1_000.0)] == [True, True]
    asks = [each.ask(amount, 1_000.0) for each, amount in parts([account(600, 1_000)], 900)]
    told = store.run(asks, 1_000.0)
    assert [word.got for word in told] == [0, 0]
    assert (told[0].wait_s, told[1].wait_s > 40.0) == (0.0, True)


def test_what_is_promised_to_a_call_that_asks_for_the_rest_is_nobody_elses() -> None:
    of = account(600, 60_000)
    bucket = of.tokens
    assert isinstance(bucket, Slice)
    bucket.hand, requests(of).hand = 500, 5
    assert bucket.ask(800, 0.0).need == 300
    assert not of.fits(100, 0.0)
    second = bucket.ask(100, 0.0)
    assert (second.need, second.extra) == (100, 0)
    bucket.unheard()
    assert of.fits(100, 0.0)


def test_what_is_idle_goes_back_and_what_a_client_left_behind_does_too() -> None:
    each = requests(account())
    each.hand, each.used_at = 7, 0.0
    assert each.settle(IDLE_S) is None
    said = each.settle(IDLE_S + 0.1)
    assert said is not None
    assert (said.debit, each.hand) == (-7, 0)
    each.hand = each.size + 4
    each.spill()
    assert (each.hand, each.unused) == (each.size, 4)
    said = each.settle(each.used_at)
    assert said is not None
    assert said.debit == -4


def test_a_limit_that_had_nothing_left_is_not_asked_again_at_once() -> None:
    store, each = Model(), requests(account(60))
    told = fetch(store, each, 1, 1_000.0)  # it has just been emptied
    assert told.got == 0
    assert each.wait_s(1, 1_000.0) == told.wait_s > 0
    assert each.dry(1, 1_000.0)
    assert not each.dry(1, 1_000.0 + AGAIN_S)


def test_clients_are_told_what_is_left_of_the_whole_limit() -> None:
    store, of = Model(), account()
    store.born = -inf
    fetch(store, requests(of), 1, 1_000.0)
    of.take(0, 1_000.0)
    assert requests(of).limit == 600
    assert round(requests(of).level(1_000.0)) == 600 - 30 - 1


# --- what is owed, and what is given back -----------------------------------------------------------------------------


def test_what_was_used_beyond_the_hand_is_owed_until_the_store_confirms_it() -> None:
    each = requests(account())
    each.hand = 2
    each.correct(5, 0.0, 1.0)
    assert (each.hand, each.owed) == (0, 3)
    assert each.ask(0, 1.0).debit == 3
    assert each.ask(0, 1.0).debit == 0
    each.unheard()
    assert each.ask(0, 1.0).debit == 3
    each.heard(each.ask(0, 1.0), Told(0, 5, 0.0), 1.0)
    assert each.owed == 0


def test_an_estimate_that_was_too_high_is_given_back_once_even_if_nobody_knows_whether_it_arrived() -> None:
    each = requests(account())
    each.correct(-5, 3.0, 10.0)
    said = each.ask(0, 10.0)
    assert (said.back, said.back_age_s) == (5, 7.0)
    each.unheard()
    assert each.ask(0, 10.0).back == 0


def test_a_bucket_that_has_been_full_since_is_given_nothing_back() -> None:
    for passed_s, then, level in ((1.0, 8, 60 - 50 + 1 - 8 + 50), (80.0, 59, 60 - 59)):
        store, each = Model(), Slice("x", 60, 1)
        store.born, each.size = -inf, 0
        for amount, at in ((50, 1_000.0), (then, 1_000.0 + passed_s)):
            fetch(store, each, amount, at)
            each.take(amount, at)
        each.correct(-50, 1_000.0, 1_000.0 + passed_s)
        assert fetch(store, each, 0, 1_000.0 + passed_s).level == level


# --- while the store is out -------------------------------------------------------------------------------------------


def test_a_process_grants_itself_its_part_of_what_the_limit_has_filled_since() -> None:
    of = account(60, holders=3)
    of_call = parts([of], 0)
    assert not grant_alone(of_call, 1_000.0, 1_000.0)
    assert requests(of).wait_s(1, 1_000.0) == 3.0
    assert grant_alone(of_call, 1_000.0, 1_003.0)
    of.take(0, 1_003.0)
    assert not grant_alone(of_call, 1_000.0, 1_005.0)
    assert requests(of).owed == 1  # the store learns of it


def test_all_limits_of_a_call_grant_it_alone_or_none_is_debited() -> None:
    of = account(6_000, 60, holders=1)
    assert not grant_alone(parts([of], 30), 0.0, 10.0)
    assert requests(of).owed == 0
    assert grant_alone(parts([of], 30), 0.0, 30.0)


class World(Struct):
    """`limit` a minute, over three processes and a store; `ideal`: a bucket that hears of everything at once."""

    limit: int
    store: Model
    slices: list[Slice]
    ideal: Bucket
    now: float = 1_000.0
    out_since: float | None = None

    def call(self, holder: int, amount: int, *, lost: bool) -> bool:
        each = self.slices[holder]
        if each.free < amount:
            self._grant(each, amount, lost=lost)
        if each.free < amount:
            return False
        each.take(amount, self.now)
        self.ideal.take(amount, self.now)
        return True

    def _grant(self, each: Slice, amount: int, *, lost: bool) -> None:
        if self.out_since is not None:
            grant_alone([(each, amount)], self.out_since, self.now)
            return
        ask = each.ask(amount, self.now)
        (told,) = self.store.run([ask], self.now)
        if lost:
            each.unheard()
        else:
            each.heard(ask, told, self.now)
            each.spill()

    def settle(self, holder: int, *, lost: bool) -> None:
        each = self.slices[holder]
        if self.out_since is None and (ask := each.settle(self.now)) is not None:
            (told,) = self.store.run([ask], self.now)
            if lost:
                each.unheard()
            else:
                each.heard(ask, told, self.now)


def world(limit: int) -> World:
    store = Model()
    store.born = -inf
    return World(limit, store, [Slice("x", limit, 3) for _ in range(3)], Bucket(limit))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("call", "call", "call", "settle", "out", "back", "emptied", "dies")),
        st.integers(0, 2),
        st.integers(1, 40),
        st.sampled_from((0.0, 0.0, 0.01, 0.3, 2.5, 30.0)),
        st.sampled_from((False, False, True)),
    ),
    max_size=120,
)


@given(st.sampled_from((3, 30, 100, 600, 6_000)), STEPS)
def test_never_more_than_the_limit_in_all_whatever_is_lost(
    limit: int, steps: list[tuple[str, int, int, float, bool]]
) -> None:
    """Words are lost on their way there or back, processes die with what they hold, the store is out or is emptied."""
    of = world(limit)
    for what, holder, amount, passed_s, lost in steps:
        of.now += passed_s
        if what == "call":
            of.call(
                holder, min(amount, limit // 3), lost=lost
            )  # one that is larger than a part waits until that is full
            assert of.ideal.level(of.now) >= -0.01, of
        elif what == "settle":
            of.settle(holder, lost=lost)
        elif what == "out":
            of.out_since = of.now if of.out_since is None else of.out_since
        elif what == "back" and of.out_since is not None:
            of.out_since = None
            for each in range(3):  # all are back before anyone asks for more
                of.settle(each, lost=False)
        elif what == "emptied":
            of.store.empty()
        elif what == "dies":
            of.slices[holder].hand = 0


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 300), st.floats(0.0, 1.0), st.floats(0.0, 40.0)), max_size=60)
)
def test_estimates_that_are_corrected_downwards_never_add_up_to_more(
    calls: list[tuple[int, int, float, float]],
) -> None:
    """What calls really used, counted when they began, stays within the limit."""
    of = world(600)
    begun: list[tuple[Slice, int, float]] = []
    for holder, amount, share, passed_s in calls:
        of.now += passed_s
        used = int(amount * share)
        before = of.ideal.full_at, of.ideal.was_full_at
        if of.call(holder, amount, lost=False):
            of.ideal.full_at, of.ideal.was_full_at = before
            of.ideal.take(used, of.now)
            assert of.ideal.level(of.now) >= -0.01
            begun.append((of.slices[holder], amount - used, of.now))
        if len(begun) > 3:
            each, unused, taken_at = begun.pop(0)
            each.correct(-unused, taken_at, of.now)


# --- the account around them ------------------------------------------------------------------------------------------


def test_another_limit_leaves_what_is_owed_and_forgets_no_debt() -> None:
    of = account(600)
    requests(of).hand, requests(of).owed = 9, 4
    of.change(Rates(60, 100, None), 5.0)
    assert (requests(of).hand, requests(of).owed, requests(of).limit) == (requests(of).size, 4, 60)
    assert isinstance(of.tokens, Slice)
    of.change(Rates(None, 100, None), 5.0)
    assert of.requests is None
    assert of.fits(0, 5.0)


def test_calls_at_the_same_time_count_in_each_process_by_itself() -> None:
    of = SharedAccount("key:k", Rates(None, None, 8), processes=4, holders=12)
    assert of.concurrency == 2
    of.adapt(1.0)
    assert of.concurrency == 1


def test_an_account_that_owes_or_holds_something_is_not_idle() -> None:
    of = account(600)
    assert of.idle(1_000.0)
    requests(of).owed = 1
    assert not of.idle(1_000.0)


def test_a_limiter_opens_accounts_of_the_kind_it_is_given() -> None:
    rules = RateRules(keys={"k": Rates(rpm=60)}, each_agent=Rates(rpm=600))
    limiter = Limiter(rules, opening=lambda name, rates: SharedAccount(name, rates, processes=1, holders=3))
    of_key, of_agent = limiter.accounts("k", "a", 0.0)
    assert [each.name for each, _ in parts((of_key, of_agent), 0)] == ["key:k:requests", "agent:a:requests"]
    assert "in hand" in repr(of_key.requests)
