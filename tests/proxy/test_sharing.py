"""One process's part in what gates share: nothing where it is not configured, kept up and closed where it is."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from policies.rate_limit import Rates
from policies.shared_rate import IDLE_S, SharedAccount, Slice
from policies.usual_output import UsualOutput
from proxy.assembly import Assembly
from proxy.clock import SystemClock, loop_time
from proxy.config.file import Document
from proxy.config.load import build
from proxy.money.rate_limits import RateLimits
from proxy.sharing import Sharing, sharing
from proxy.tasks import Tasks
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics
from tests.rates import Refusals
from tests.shared_store import FakeStore

BASE = {"providers": {"s": {"kind": "simulated"}}, "models": {"m": "s/x"}, "pricing": {"unknown": "allow"}}


def assembly(folder: Path, **shared: object) -> Assembly:
    values = {**BASE, "data_dir": str(folder), "shared": shared}
    return Assembly(build(Document("f", values, {}), {}), SystemClock(seed=1, now=loop_time))  # type: ignore[arg-type]


def limits(of: Assembly) -> RateLimits:
    return RateLimits(of.present.paces.accounts, of.tools.clock, usual=UsualOutput(), on_refused=Refusals())


async def test_without_an_address_nothing_is_made(tmp_path: Path) -> None:
    of = assembly(tmp_path)
    rates, log = limits(of), RequestLog(io.BytesIO(), of.tools.clock.wall)
    assert sharing(of, Tasks(lambda *_: None), rates, log=log, metrics=Metrics(["m"], [])) is None
    assert rates.common is None
    log.close()


async def test_with_one_rate_limits_are_counted_there(tmp_path: Path) -> None:
    of = assembly(tmp_path, redis="redis://127.0.0.1:1/0", gates=2)
    rates, log = limits(of), RequestLog(io.BytesIO(), of.tools.clock.wall)
    made = sharing(of, Tasks(lambda *_: None), rates, log=log, metrics=Metrics(["m"], []))
    assert made is not None
    assert rates.common is made.rates
    assert made.health() == "ok"
    await made.close()
    log.close()


async def test_once_a_second_it_is_heard_settled_and_probed(tmp_path: Path) -> None:
    of = assembly(tmp_path, redis="redis://127.0.0.1:1/0", gates=2)
    store, log = FakeStore(loop_time), RequestLog(io.BytesIO(), of.tools.clock.wall)
    tasks = Tasks(lambda *_: None)
    made = Sharing(of, tasks, store=store, log=log, metrics=Metrics(["m"], []))
    account = SharedAccount("agent:a", Rates(rpm=600), processes=1, holders=2)
    bucket = account.requests
    assert isinstance(bucket, Slice)
    bucket.hand = bucket.size
    made.rates.moved([account])
    tasks.start("shared store", made.keep())
    await asyncio.sleep(IDLE_S + 2)
    assert (bucket.hand, store.asked.count("run")) == (0, 1)  # it was idle
    assert store.asked.count("ping") >= 2
    store.broken = True
    await asyncio.sleep(7)
    assert made.health() == "out"
    store.broken = False
    await asyncio.sleep(1.5)
    assert made.health() == "ok"
    await tasks.close()
    await made.close()
    assert store.closed
    log.close()
