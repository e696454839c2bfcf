"""One process's part in what gates share: nothing where it is not configured, and all of it where it is."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from policies.rate_limit import Rates
from policies.shared_rate import SharedAccount
from proxy.assembly import Assembly
from proxy.caching.kept import Kept
from proxy.clock import SystemClock, loop_time
from proxy.config.file import Document
from proxy.config.load import build
from proxy.pacing import Pacing
from proxy.shared.answers import WAITING_MAX
from proxy.sharing import sharing
from proxy.tasks import Tasks
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
BASE = {"providers": {"s": {"kind": "simulated"}}, "models": {"m": "s/x"}, "pricing": {"unknown": "allow"}}


def assembly(folder: Path, more: dict[str, object] | None = None, **shared: object) -> Assembly:
    values = {**BASE, **(more or {}), "data_dir": str(folder), "shared": shared}
    return Assembly(build(Document("f", values, {}), {}), SystemClock(seed=1, now=loop_time))  # type: ignore[arg-type]


async def test_without_an_address_nothing_is_made(tmp_path: Path) -> None:
    of = assembly(tmp_path)
    log = RequestLog(io.BytesIO(), of.tools.clock.wall)
    assert sharing(of, Tasks(lambda *_: None), log=log, metrics=Metrics(["m"], [])) is None
    log.close()


def test_nor_is_any_of_it_loaded() -> None:
    loaded = "[name for name in sys.modules if name.startswith(('redis', 'proxy.shared'))]"
    program = f"import proxy.data_plane, sys; print({loaded})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


async def test_with_one_rate_limits_and_answers_are_shared(tmp_path: Path) -> None:
    of = assembly(tmp_path, redis="redis://127.0.0.1:1/0", gates=2)
    log, metrics = RequestLog(io.BytesIO(), of.tools.clock.wall), Metrics(["m"], [])
    made = sharing(of, Tasks(lambda *_: None), log=log, metrics=metrics)
    assert made is not None
    assert made.answers is not None
    assert made.health() == "ok"
    assert isinstance(made.opening("agent:a", Rates(rpm=5)), SharedAccount)
    assert Pacing(of, metrics, shared=made).rates.common is made.rates
    assert b'headgate_shared_breaker_state{state="closed"} 1' in metrics.exposition("text/plain")[0]
    await made.close()
    log.close()


async def test_answers_that_did_not_get_out_are_hits_of_a_bound(tmp_path: Path) -> None:
    of = assembly(tmp_path, redis="redis://127.0.0.1:1/0")
    log, metrics = RequestLog(io.BytesIO(), of.tools.clock.wall), Metrics(["m"], [])
    made = sharing(of, Tasks(lambda *_: None), log=log, metrics=metrics)
    assert made is not None
    assert made.answers is not None
    wall = of.tools.clock.wall()
    too_large = Kept(bytes(WAITING_MAX + 1), "", "up/m", wall, wall + 100.0, "a", "m", tokens=9, cost_usd_nanos=5)
    for hits in (1, 2):
        made.answers.put(b"k" * 32, too_large, wall + 100.0)
        told = f'headgate_bound_hits_total{{bound="shared_answers"}} {hits}.0\n'
        assert told.encode() in metrics.exposition("text/plain")[0]
    await made.close()
    log.close()


async def test_with_nothing_on_the_disk_no_answer_leaves_the_process(tmp_path: Path) -> None:
    of = assembly(tmp_path, {"caches": {"persist": False}}, redis="redis://127.0.0.1:1/0")
    log = RequestLog(io.BytesIO(), of.tools.clock.wall)
    made = sharing(of, Tasks(lambda *_: None), log=log, metrics=Metrics(["m"], []))
    assert made is not None
    assert made.answers is None
    assert made.dropped == 0
    await made.close()
    log.close()
