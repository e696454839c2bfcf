"""Recorded traffic where there is some, made-up traffic of the same shape where there is none.

`agents`: recorded agent runs, as groups of calls by model and octave of output; `conversation`: arrivals of a chat
service with the blocks of their prompts. The folder is the caller's to name; nothing of it is part of the project.
"""

from __future__ import annotations

import gzip
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NotRequired, TypedDict

from .upstreams import BLOCK_TOKENS, Request

SESSIONS = "agent_sessions.jsonl.gz"
CONVERSATION = "mooncake_conversation.jsonl.gz"
GROUP_LEAST = 200  # calls; smaller groups say too little of their tail
SHORT = 800, 200  # tokens in and out of a request of the small worlds
AGENT = 100_000, 250  # of an agent's call: about what is usual of the recorded ones


class RecordedCall(TypedDict):
    model: str
    output: int
    api_s: NotRequired[float]


class RecordedRun(TypedDict):
    calls: list[RecordedCall]
    children: NotRequired[list[RecordedRun]]


def agents(folder: Path | None, seed: int) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Median seconds, and times over the median, of each group; a group is called as a model would be."""
    file = None if folder is None else folder / SESSIONS
    if file is None or not file.exists():
        return _made_up_agents(Random(seed))
    groups: dict[str, list[float]] = defaultdict(list)
    with gzip.open(file, "rt") as lines:
        for line in lines:
            for call in _calls(json.loads(line)):
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
    file = None if folder is None else folder / CONVERSATION
    if file is None or not file.exists():
        return _made_up_conversation(Random(seed))
    found = []
    with gzip.open(file, "rt") as lines:
        for number, line in enumerate(lines):
            told = json.loads(line)
            blocks = tuple(told["hash_ids"])
            at, tokens, output = told["timestamp"] / 1000, told["input_length"], told["output_length"]
            found.append(Request(number, at, tokens=tokens, output=output, blocks=blocks))
    return found


def _made_up_conversation(rng: Random, count: int = 12_000) -> list[Request]:
    """Talks that grow by some blocks with each turn, arriving together every three seconds."""
    talks: list[tuple[int, ...]] = []
    found, next_block = [], 0
    for number in range(count):
        talk = rng.choice(talks[-400:]) if talks and rng.random() < 0.5 else ()
        more = max(1, int(rng.expovariate(1 / 15)))
        talk = (*talk, *range(next_block, next_block + more))[:250]
        next_block += more
        talks.append(talk)
        output = 1 + int(rng.expovariate(1 / 343))
        at = 3.0 * int(number / 10)
        found.append(Request(number, at, tokens=len(talk) * BLOCK_TOKENS, output=output, blocks=talk))
    return found


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
