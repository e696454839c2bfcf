"""The report: one table of medians with the ratio to the bare hop and the target beside it, and the same as JSON.

Targets are shown as met or not, and judged by the reader: a shared machine is no place for timed assertions. Ratios
are taken round by round, and the median of those is shown.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from .figures import median, ratios
from .growth import Growth
from .sections import STREAMS_OF_LOSS_TEST, Results, Values
from .systems import nginx_path

COLUMNS = ("direct", "nginx", "hop", "headgate", "unlogged", "budgets", "strict", "silent")
TITLES = {name: name for name in COLUMNS} | {"hop": "bare hop"}
REQUEST_RATIO_MAX = 1.6
CHUNK_RATIO_MAX = 1.2
BUDGETS_SHARE_MAX = 0.15  # of the CPU of a request
TELEMETRY_SHARE_MAX = 0.2  # of the same
START_S_MAX = 1.0
IDLE_MB_MAX = 60.0
GROWTH_MB_PER_100K_MAX = 1.0
GROWTH_REQUESTS_LEAST = 100_000  # a shorter run ends while pools and caches still fill


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    cells: Mapping[str, float]  # by system
    digits: int = 0
    ratio: float | None = None  # of the gate to the bare hop
    judged: float | None = None  # the figure that the target is about
    target: float = 0.0

    @property
    def verdict(self) -> str:
        if self.judged is None:
            return ""
        return f"<= {self.target:g} {'ok' if self.judged <= self.target else 'over'}"


def rows(results: Results) -> list[Row]:
    table = []
    for body, label in (("small", "1.5 KB"), ("large", "30 KB")):
        if body in results.cpu_us:
            table += cpu_rows(results.cpu_us[body], label)
            table.append(Row(f"requests/s at saturation, {label}", medians(results.per_s[body])))
            table += budget_rows(results.cpu_us[body], label) + telemetry_rows(results.cpu_us[body], label)
    if results.p50_us:
        table.append(Row("latency added, p50, us", added(results.p50_us)))
        table.append(Row("latency added, p99, us", added(results.p99_us)))
    if results.chunk_cpu_us:
        ratio = against_hop(results.chunk_cpu_us)
        table.append(Row("CPU a chunk, us", medians(results.chunk_cpu_us), 1, ratio, ratio, CHUNK_RATIO_MAX))
    return table + loss_rows(results) + memory_rows(results) + start_rows(results)


def cpu_rows(values: Values, label: str) -> list[Row]:
    """Both ways to run the gate are judged, each with its own ratio."""
    cells, ratio, unlogged = medians(values), against_hop(values), against_hop(values, "unlogged")
    table = [Row(f"CPU a request, {label}, us", cells, 1, ratio, ratio, REQUEST_RATIO_MAX)]
    if unlogged is not None:
        only = {"unlogged": cells["unlogged"]}
        table.append(Row(f"... without log lines, {label}, us", only, 1, unlogged, unlogged, REQUEST_RATIO_MAX))
    return table


def budget_rows(values: Values, label: str) -> list[Row]:
    if "headgate" not in values or "budgets" not in values:
        return []
    share = 1 - 1 / median(ratios(values["budgets"], values["headgate"]))
    return [Row(f"share of budgets, {label}", {"budgets": share}, 3, judged=share, target=BUDGETS_SHARE_MAX)]


def telemetry_rows(values: Values, label: str) -> list[Row]:
    """By the least of all rounds: other work on the machine only ever adds."""
    if "headgate" not in values or "silent" not in values:
        return []
    share = 1 - min(values["silent"]) / min(values["headgate"])
    return [Row(f"share of telemetry, {label}", {"headgate": share}, 3, judged=share, target=TELEMETRY_SHARE_MAX)]


def loss_rows(results: Results) -> list[Row]:
    if not results.loss:
        return []
    found = results.loss
    name = f"{STREAMS_OF_LOSS_TEST} streams"
    lost = {system: float(result.lost) for system, result in found.items()}
    late = {system: float(result.late) for system, result in found.items()}
    return [
        Row(f"{name}: chunks/s", {system: result.per_s for system, result in found.items()}),
        Row(f"{name}: chunks lost", lost, judged=lost.get("headgate")),
        Row(f"{name}: chunks late", late, judged=late.get("headgate")),
        Row(f"{name}: age of a chunk, p50, us", {system: result.age_p50_us for system, result in found.items()}),
        Row(f"{name}: age of a chunk, p99, us", {system: result.age_p99_us for system, result in found.items()}),
    ]


def memory_rows(results: Results) -> list[Row]:
    idle = medians(results.idle_mb)
    table = [Row("resident memory idle, MB", idle, 1, judged=idle.get("headgate"), target=IDLE_MB_MAX)]
    if results.busy_mb:
        table.append(Row("resident memory busy, most, MB", {name: max(mb) for name, mb in results.busy_mb.items()}, 1))
    if results.growth:
        grown, requests = results.growth.mb_per_100k(), results.growth.samples[-1][0]
        judged = grown if requests >= GROWTH_REQUESTS_LEAST else None
        label = f"growth over {requests:,} requests, MB per 100,000"
        table.append(Row(label, {"headgate": grown}, 2, judged=judged, target=GROWTH_MB_PER_100K_MAX))
    return table


def start_rows(results: Results) -> list[Row]:
    if not results.ready_s:
        return []
    ready, answered = medians(results.ready_s), medians(results.answered_s)
    return [
        Row("start: exec to ready, s", ready, 2, judged=ready.get("headgate"), target=START_S_MAX),
        Row("start: exec to first answer, s", answered, 2, judged=answered.get("headgate"), target=START_S_MAX),
    ]


def medians(values: Values) -> dict[str, float]:
    return {name: median(rounds) for name, rounds in values.items()}


def against_hop(values: Values, name: str = "headgate") -> float | None:
    if "hop" not in values or name not in values:
        return None
    return median(ratios(values[name], values["hop"]))


def added(values: Values) -> dict[str, float]:
    """The median over the rounds of what a system adds to the direct way."""
    direct = values["direct"]
    through = {name: rounds for name, rounds in values.items() if name != "direct"}
    return {
        name: median([value - other for value, other in zip(rounds, direct, strict=True)])
        for name, rounds in through.items()
    }


def render(table: Sequence[Row]) -> str:
    shown = [name for name in COLUMNS if any(name in row.cells for row in table)]
    width = max(len(row.label) for row in table)
    lines = [" " * width + "".join(f"{TITLES[name]:>11}" for name in shown) + f"{'x hop':>8}  target"]
    for row in table:
        cells = "".join(f"{cell(row, name):>11}" for name in shown)
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        lines.append(f"{row.label:<{width}}{cells}{ratio:>8}  {row.verdict}".rstrip())
    return "\n".join(lines)


def cell(row: Row, name: str) -> str:
    return f"{row.cells[name]:,.{row.digits}f}" if name in row.cells else "-"


def sparkline(found: Growth) -> str:
    """Memory at ten points of the growth test, for the eye."""
    step = max(1, len(found.samples) // 10)
    return "  ".join(f"{requests // 1000}k {mb:.1f}" for requests, mb in found.samples[step - 1 :: step])


def machine() -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "aiohttp": version("aiohttp"),
        "uvloop": version("uvloop"),
        "wrk": _first_line(["wrk", "-v"], r"(\d+\.\d+\.\d+)"),
        "nginx": _first_line([nginx_path() or "nginx", "-v"], r"nginx/([\d.]+)"),
    }


def as_json(results: Results, about: Mapping[str, str]) -> dict[str, object]:
    table = [{**asdict(row), "verdict": row.verdict} for row in rows(results)]
    return {"machine": dict(about), "rows": table, "measured": asdict(results)}


def _cpu_model() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _first_line(command: Sequence[str], pattern: str) -> str:
    if shutil.which(command[0]) is None:
        return "missing"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"
