"""Recorded traffic where there is some, made-up traffic of the same shape where there is none.

`agents`: recorded agent runs, as groups of calls by model and octave of output; `conversation`: arrivals of a chat
service with the blocks of their prompts. The folder is the caller's to name; nothing of it is part of the project.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

from loadtests.replay import traces
from loadtests.replay.traces import SESSIONS, RecordedCall, RecordedRun

from .upstreams import Request

GROUP_LEAST = 200  # calls; smaller groups say too little of their tail
SHORT = 800, 200  # tokens in and out of a request of the small worlds
AGENT = 100_000, 250  # of an agent's call: about what is usual of the recorded ones


def agents(folder: Path | None, seed: int) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Median seconds, and times over the median, of each group; a group is called as a model would be."""
    if folder is None or not (folder / SESSIONS).exists():
        return _made_up_agents(Random(seed))
    groups: dict[str, list[float]] = defaultdict(list)
    for run in traces.sessions(folder):
        for call in _calls(run):
            if "api_s" in call:
                octave = int(math.log2(max(1, call["output"])))
                groups[f"{call['model']}/{octave}"].append(call["api_s"])
    large = {name: times for name, times in sorted(groups.items()) if len(times) >= GROUP_LEAST}
    medians = {name: statistics.median(times) for name, times in large.items()}
    return medians, {name: [time / medians[name] for time in times] for name, times in large.items()}


def _calls(run: RecordedRun) -> Iterator[RecordedCall]:
    yield from run["calls"]
    for child in run.get("children", ()):
        yield from child["calls"]


def _made_up_agents(rng: Random) -> tuple[dict[str, float], dict[str, list[float]]]:
    medians = {f"model-{number}": 2.0 * 1.5**number for number in range(6)}
    times = {name: sorted(rng.lognormvariate(0, 0.35) for _ in range(1_000)) for name in medians}
    return medians, times


def conversation(folder: Path | None, seed: int) -> list[Request]:
    """An hour of a chat service."""
    return [
        Request(told.number, at, tokens=told.tokens, output=told.output, blocks=told.blocks)
        for at, told in traces.conversation(folder, seed)
    ]


def poisson(rate: float, count: int, seed: int) -> list[Request]:
    rng, at, found = Random(seed), 0.0, []
    for number in range(count):
        at += rng.expovariate(rate)
        found.append(Request(number, at, tokens=SHORT[0], output=SHORT[1]))
    return found


def by_group(medians: dict[str, float], rate: float, count: int, *, seed: int) -> list[Request]:
    """Calls of all groups, as they come."""
    rng, at, found, names = Random(seed), 0.0, [], list(medians)
    for number in range(count):
        at += rng.expovariate(rate)
        model = rng.choice(names)
        usual_s, (tokens, output) = medians[model], AGENT
        found.append(Request(number, at, model, usual_s, tokens=tokens, output=output))
    return found
