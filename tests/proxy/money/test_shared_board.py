"""One engine, several workers: what they share out adds up to the time in which anything ran, and to no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pricing.gpu import GpuMeter, GpuRate
from pricing.gpu_board import GpuTime
from proxy.money.shared_board import OwnBoards, SharedBoard, SharedBoards
from tests.sources import ROOT

RATE = GpuRate(2_500_000_000)
SPREAD = GpuRate(2_500_000_000, spread_idle=True)
PRICE = RATE.price


class Party:
    """The owner's meter of one engine, and those of two workers; all in this process, with a file between them."""

    def __init__(self, folder: Path, rate: GpuRate = RATE) -> None:
        self.boards = SharedBoards(folder, 2, None)
        self.owner = GpuMeter(rate, 0.0, self.boards.board("own", 0.0))
        self.workers = [GpuMeter(rate, 0.0, SharedBoards(folder, 2, number).board("own", 0.0)) for number in (0, 1)]


def test_calls_through_two_workers_pay_half_each_while_both_run(tmp_path: Path) -> None:
    party = Party(tmp_path)
    one, two = party.workers
    first = one.start(0.0)
    second = two.start(1.0)
    assert (one.in_flight, two.in_flight, party.owner.in_flight) == (2, 2, 2)
    assert one.spent_usd_nanos(first, PRICE, 2.0) == RATE.cost_usd_nanos(1.5)
    assert one.end(first, PRICE, 3.0).occupancy_s == 1.0 + 2.0 / 2
    assert two.end(second, PRICE, 4.0).occupancy_s == 2.0 / 2 + 1.0
    account = party.owner.book(10.0)
    assert (account.elapsed_s, account.busy_s) == (10.0, 4.0)
    assert account.charged_usd_nanos == 4 * RATE.usd_nanos_per_s
    assert party.owner.book(20.0).charged_usd_nanos == 0


def test_holds_expect_the_company_that_runs_through_other_workers(tmp_path: Path) -> None:
    party = Party(tmp_path)
    for _ in range(3):
        party.workers[0].start(0.0)
    assert party.workers[1].forecast(PRICE, 0.0, left_s=60.0, usual_s=8.0).running == 3


def test_a_dead_workers_calls_stop_counting_and_its_successor_begins_with_none(tmp_path: Path) -> None:
    party = Party(tmp_path)
    one, two = party.workers
    first = one.start(0.0)
    two.start(0.0)
    party.boards.strike(1, 2.0)
    assert one.end(first, PRICE, 5.0).occupancy_s == 2.0 / 2 + 3.0
    assert party.owner.in_flight == 0
    fresh = GpuMeter(RATE, 6.0, SharedBoards(tmp_path, 2, 1).board("own", 6.0))
    assert fresh.end(fresh.start(6.0), PRICE, 7.0).occupancy_s == 1.0


def test_idle_time_is_spread_by_what_the_owner_booked(tmp_path: Path) -> None:
    party = Party(tmp_path, SPREAD)
    one, two = party.workers
    assert one.end(one.start(0.0), PRICE, 10.0).idle_usd_nanos == 0  # always busy so far
    share = two.end(two.start(15.0), PRICE, 20.0)  # 15 of 20 seconds were
    assert share.cost_usd_nanos == RATE.cost_usd_nanos(5.0 * 20 / 15)
    party.owner.book(20.0)
    for hour in range(1, 26):  # a day later the beginning is forgotten
        party.owner.book(20.0 + hour * 3_600)
    share = one.end(one.start(90_020.0), PRICE, 90_021.0)
    assert share.idle_usd_nanos == 2 * RATE.usd_nanos_per_s, "at most three times"


def test_a_gate_that_starts_again_begins_anew_and_who_still_drains_goes_on_in_the_old_count(tmp_path: Path) -> None:
    party = Party(tmp_path)
    old = party.workers[0]
    started = old.start(0.0)
    again = Party(tmp_path)
    assert again.owner.in_flight == 0
    assert old.end(started, PRICE, 2.0).occupancy_s == 2.0
    assert again.owner.stretch(2.0).charged_usd_nanos == 0


def test_a_worker_that_stopped_with_the_lock_holds_up_nobody(tmp_path: Path) -> None:
    party = Party(tmp_path)
    (path,) = tmp_path.glob("engine-*.time")
    code = f"import fcntl; f = open({str(path)!r}, 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        share = party.workers[0].end(party.workers[0].start(0.0), PRICE, 2.0)
        holder.stdin.write(b"\n")
        holder.stdin.close()
    assert share.occupancy_s == 2.0


def test_a_worker_whose_count_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SharedBoards(tmp_path, 2, 0).board("own", 0.0)


def test_who_is_alone_shares_nothing() -> None:
    boards = OwnBoards()
    board = boards.board("own", 0.0)
    board.step(0.0, change=1)
    boards.strike(0, 1.0)
    assert board.in_flight == 1


HAMMER = """
import json, random, sys, time
from pathlib import Path
from pricing.gpu import GpuMeter, GpuRate
from proxy.money.shared_board import SharedBoards
number, rng = int(sys.argv[2]), random.Random(int(sys.argv[2]))
rate = GpuRate(2_500_000_000)
meter = GpuMeter(rate, time.monotonic(), SharedBoards(Path(sys.argv[1]), 2, number).board("own", 0.0))
running, total, charged, ended = [], 0.0, 0, 0
print("ready", flush=True)
sys.stdin.readline()
for _ in range(6_000):
    if running and rng.random() < 0.5:
        share = meter.end(running.pop(rng.randrange(len(running))), rate.price, time.monotonic())
        total, charged, ended = total + share.occupancy_s, charged + share.cost_usd_nanos, ended + 1
    else:
        running.append(meter.start(time.monotonic()))
for started in running:
    share = meter.end(started, rate.price, time.monotonic())
    total, charged, ended = total + share.occupancy_s, charged + share.cost_usd_nanos, ended + 1
print(json.dumps([total, charged, ended]))
"""


def test_two_processes_at_full_speed_share_out_the_busy_time_to_the_nanosecond(tmp_path: Path) -> None:
    board = SharedBoards(tmp_path, 2, None).board("own", 0.0)
    command = [sys.executable, "-c", HAMMER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers = [subprocess.Popen([*command, str(number)], cwd=ROOT, **pipes) for number in (0, 1)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    told = [json.loads(worker.communicate(b"\n")[0]) for worker in workers]
    time = board.step(0.0)
    assert board.in_flight == 0
    assert abs(sum(total for total, _, _ in told) - time.busy_s) < 1e-6
    assert time.charged_usd_nanos == sum(charged for _, charged, _ in told)
    calls = sum(ended for _, _, ended in told)
    assert 0 <= time.charged_usd_nanos - RATE.cost_usd_nanos(time.busy_s) + 1 <= calls + 1


LOCK = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def free(folder: Path) -> bool:
    """For another process."""
    (path,) = folder.glob("engine-*.time")
    return subprocess.run([sys.executable, "-c", LOCK, str(path)], stderr=subprocess.DEVNULL).returncode == 0


class Watched(SharedBoard):
    """Looks in the midst of each step whether another process could make one."""

    folder: Path

    def _advanced(self, now: float) -> GpuTime:
        self.was_free = free(self.folder)
        return super()._advanced(now)


def test_steps_of_two_processes_never_overlap(tmp_path: Path) -> None:
    Party(tmp_path)
    (path,) = tmp_path.glob("engine-*.time")
    board = Watched(os.open(path, os.O_RDWR), 0)
    board.folder = tmp_path
    steps = (
        lambda: board.step(1.0, change=1),
        lambda: board.spread_since(2.0, 1.0),
        lambda: board.strike(0, 3.0),
    )
    for step in steps:
        step()
        assert not board.was_free
        assert free(tmp_path), "it is let go of at the end"
