"""`python loadtests/load.py SCENARIO`: starts upstreams, a gate and Locust, and says whether the gate has passed.

With `--host` the gate is one that runs already, ours or any other that speaks OpenAI's dialect; then nothing is asked
of its books. Exit codes: 0 passed, 1 failed, 2 could not be run.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .record import quantile, samples
from .scenarios import SCENARIOS, Scenario
from .stage import REPOSITORY, Gate, StageError, Upstream, fetch
from .verdicts import VERDICTS, Seen

LOCUST = REPOSITORY / ".venvs/load/bin/locust"
SETTLE_S = 3.0


def arguments(given: Sequence[str]) -> argparse.Namespace:
    about = "\n".join(f"  {name:<10} {scenario.about}, {scenario.seconds} s" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="load.py",
        description=__doc__,
        epilog=f"scenarios:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=[*SCENARIOS, "all"], metavar="SCENARIO")
    parser.add_argument("--seconds", type=int, help="instead of the scenario's own")
    parser.add_argument("--users", type=int, help="instead of the scenario's own")
    parser.add_argument("--host", help="a gate that runs already, such as http://127.0.0.1:4000")
    parser.add_argument("--admin", default="", help="its admin listener, which is told how many users there are")
    parser.add_argument("--key", default="sk-load", help="its key")
    parser.add_argument("--model", default="chat", help="its model")
    parser.add_argument("--report", type=Path, help="a folder for report.html, the CSV files and every sample")
    parser.add_argument(
        "--gate", default=f"{Path(sys.executable).parent / 'headgate'} serve --config", help="how the gate is started"
    )
    parser.add_argument("--locust", type=Path, default=LOCUST, help="Locust's command")
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    if not options.locust.exists():
        print("Locust is not installed: python tests/real/environments.py load", file=sys.stderr)
        return 2
    names = [name for name in SCENARIOS if name != "soak"] if options.scenario == "all" else [options.scenario]
    try:
        return max([run(name, options) for name in names])
    except StageError as error:
        print(error, file=sys.stderr)
        return 2


def run(name: str, options: argparse.Namespace) -> int:
    scenario = SCENARIOS[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.report or scratch) / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "samples.jsonl").unlink(missing_ok=True)
        upstreams = (
            []
            if options.host
            else [Upstream(sys.executable, scenario, folder, number) for number in range(scenario.replicas)]
        )
        gate = None
        try:
            gate = None if options.host else Gate(options.gate.split(), scenario, upstreams, folder)
            seen = _loaded(name, scenario, options, upstreams, gate=gate, folder=folder)
        finally:
            for process in (*([gate] if gate else []), *upstreams):
                process.stop()
    return _say(name, scenario, seen)


def _loaded(
    name: str,
    scenario: Scenario,
    options: argparse.Namespace,
    upstreams: list[Upstream],
    *,
    gate: Gate | None,
    folder: Path,
) -> Seen:
    seconds = options.seconds or scenario.seconds
    record, began = folder / "samples.jsonl", time.monotonic()
    command = _command(scenario, options, options.host or (gate.url if gate else ""), folder)
    environment = {
        "LOAD_SCENARIO": name,
        "LOAD_RECORD": str(record),
        "LOAD_KEY": options.key,
        "LOAD_MODEL": options.model,
        "LOAD_ADMIN": f"http://127.0.0.1:{gate.admin_port}" if gate else options.admin,
    }
    stop = threading.Event()
    meddler = threading.Thread(target=_meddle, args=(scenario, gate, upstreams, stop, seconds), daemon=True)
    meddler.start()
    before = gate.resident_kb() if gate else 0
    with (folder / "locust.log").open("wb") as log:
        ended = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **environment}, stdout=log, stderr=log, check=False
        )
    stop.set()
    meddler.join()
    if ended.returncode != 0 or not record.exists():
        raise StageError(f"Locust ended with {ended.returncode}: {(folder / 'locust.log').read_text()[-2_000:]}")
    found = list(samples(record))
    time.sleep(SETTLE_S)
    bills = [upstream.bill() for upstream in upstreams if upstream.process.poll() is None]
    if gate is None:
        return Seen(found, bills, seconds=time.monotonic() - began)
    totals = gate.admin("/spend?by=key")["rows"]
    return Seen(
        found,
        bills,
        calls=sum(row["calls"] for row in totals),
        cost_usd_nanos=sum(row["cost_usd_nanos"] or 0 for row in totals),
        in_flight=_in_flight(str(fetch(f"http://127.0.0.1:{gate.admin_port}/metrics"))),
        memory_kb=(before, gate.resident_kb()),
        seconds=time.monotonic() - began,
    )


def _command(scenario: Scenario, options: argparse.Namespace, host: str, folder: Path) -> list[str]:
    seconds, users = options.seconds or scenario.seconds, options.users or scenario.count
    return [
        *(str(options.locust), "-f", "loadtests/locustfile.py", "--headless", "--only-summary", "--stop-timeout", "20"),
        *("--host", host, "--run-time", f"{seconds}s", "--exit-code-on-error", "0"),
        *("--csv", str(folder / "locust"), "--html", str(folder / "report.html")),
        *(() if scenario.shape else ("--users", str(users), "--spawn-rate", str(max(1, users // 2)))),
    ]


def _in_flight(exposition: str) -> float:
    lines = [line for line in exposition.splitlines() if line.startswith("headgate_in_flight_requests{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def _meddle(
    scenario: Scenario, gate: Gate | None, upstreams: list[Upstream], stop: threading.Event, seconds: int
) -> None:
    """What happens to the gate while it is under load."""
    if gate is None or not scenario.during:
        return
    if scenario.during == "kill_upstream":
        if not stop.wait(seconds / 3):
            upstreams[-1].process.kill()
        return
    while not stop.wait(1.0):
        if scenario.during == "scrape":
            gate.admin("/metrics")
        else:
            gate.settings["limits"] = {"heartbeat_s": 10 + time.monotonic() % 10}
            gate.write()
            gate.process.send_signal(signal.SIGHUP)


def _say(name: str, scenario: Scenario, seen: Seen) -> int:
    firsts = [sample.first_s for sample in seen.samples if sample.first_s is not None]
    ends = [sample.e2e_s for sample in seen.samples]
    print(f"{name}: {scenario.about}: {len(seen.samples)} calls")
    for title, values in (("first token", firsts), ("whole", ends)):
        p50, p95, p99 = (quantile(values, share) * 1000 for share in (0.5, 0.95, 0.99))
        print(f"  {title:<12} p50 {p50:7.0f} ms   p95 {p95:7.0f} ms   p99 {p99:7.0f} ms")
    failed = 0
    for verdict in scenario.passes:
        found = VERDICTS[verdict](seen)
        failed += not found.passed
        print(f"  {'ok    ' if found.passed else 'FAILED'} {verdict.replace('_', ' ')}: {found.said}")
    return 1 if failed else 0
