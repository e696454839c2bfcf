"""Recorded traffic where there is some, made-up traffic of the same shape where there is none.

`HEADGATE_TRACES` names the folder; by default it lies beside the project. Nothing of it is part of the project.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NotRequired, TypedDict

from loadtests.replay.recorded import INPUT_MAX, STEPS_MAX, THINK_MAX_S, played, rows_of, think_s
from loadtests.replay.world import BLOCK_TOKENS, Request

SESSIONS = "agent_sessions.jsonl.gz"
CONVERSATION = "mooncake_conversation.jsonl.gz"
RECORDED_BLOCK = 64  # tokens of a block of the agents' trace
MERGED = BLOCK_TOKENS // RECORDED_BLOCK
RUN_SHIFT = 40  # a run's number stands above the ids of its own blocks


class RecordedCall(TypedDict):
    t: float
    model: str
    input: int
    output: int
    blocks: list[tuple[int, int]]
    api_s: NotRequired[float]
    think_s: NotRequired[float]


class RecordedChild(TypedDict):
    """An agent below; `t`: since the start of the run."""

    t: float
    calls: list[RecordedCall]


class RecordedRun(TypedDict):
    id: str
    calls: list[RecordedCall]
    children: NotRequired[list[RecordedChild]]
    tool_tokens: int
    system_tokens: int


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a run. `think_s`: of its client, since the answer before."""

    tokens: int
    output: int
    blocks: tuple[int, ...]
    think_s: float


@dataclass(frozen=True, slots=True)
class AgentRun:
    number: int
    steps: tuple[Step, ...]


def found() -> Path | None:
    """The folder of recorded traffic; None: there is none."""
    beside = Path(__file__).parents[2] / ".." / "shared" / "data"
    folder = Path(os.environ.get("HEADGATE_TRACES") or beside)
    return folder if folder.is_dir() else None


def sessions(folder: Path) -> list[RecordedRun]:
    """The recorded agent runs, in the order of the file."""
    return list(rows_of(folder / SESSIONS))


def agents(folder: Path | None, seed: int, count: int) -> list[AgentRun]:
    """So many runs, shuffled by seed; recorded ones come again where there are fewer."""
    rng = Random(seed)
    if folder is None or not (folder / SESSIONS).exists():
        return [_made_up_run(rng, number) for number in range(count)]
    recorded = [run for run in sessions(folder) if played(run)]
    rng.shuffle(recorded)
    return [_run(number, recorded[number % len(recorded)]) for number in range(count)]


def _run(number: int, recorded: RecordedRun) -> AgentRun:
    steps = [Step(call["input"], call["output"], _merged(number, call), think_s(call)) for call in played(recorded)]
    return AgentRun(number, tuple(steps))


def _merged(number: int, call: RecordedCall) -> tuple[int, ...]:
    ids = [id for first, last in call["blocks"] for id in range(first, last + 1)]
    above = number << RUN_SHIFT
    return tuple([above + id for id in ids[::MERGED]])


def _made_up_run(rng: Random, number: int) -> AgentRun:
    """A context that grows by some blocks with each step and is rarely compacted."""
    ids = iter(range(number << RUN_SHIFT, (number + 1) << RUN_SHIFT))
    blocks = [next(ids) for _ in range(int(20 + 40 * rng.random()))]
    steps = []
    for _ in range(min(STEPS_MAX, 3 + int(rng.expovariate(1 / 45)))):
        if rng.random() < 0.02 or len(blocks) * BLOCK_TOKENS > INPUT_MAX:
            blocks = blocks[:15]
        blocks += [next(ids) for _ in range(1 + int(rng.expovariate(1 / 7)))]
        tokens = len(blocks) * BLOCK_TOKENS + rng.randrange(BLOCK_TOKENS)
        think_s = min(THINK_MAX_S, rng.lognormvariate(1.0, 1.5))
        steps.append(Step(tokens, 1 + int(rng.lognormvariate(5.3, 1.0)), tuple(blocks), think_s))
    return AgentRun(number, tuple(steps))


def conversation(folder: Path | None, seed: int) -> list[tuple[float, Request]]:
    """An hour of a chat service: when each request comes, and the request."""
    file = None if folder is None else folder / CONVERSATION
    if file is None or not file.exists():
        return _made_up_conversation(Random(seed))
    arrivals = []
    for number, told in enumerate(rows_of(file)):
        request = Request(number, told["input_length"], told["output_length"], tuple(told["hash_ids"]))
        arrivals.append((told["timestamp"] / 1000, request))
    return arrivals


def _made_up_conversation(rng: Random, count: int = 12_000) -> list[tuple[float, Request]]:
    """Talks that grow by some blocks with each turn, arriving together every three seconds."""
    talks: list[tuple[int, ...]] = []
    arrivals, next_block = [], 0
    for number in range(count):
        talk = rng.choice(talks[-400:]) if talks and rng.random() < 0.5 else ()
        more = max(1, int(rng.expovariate(1 / 15)))
        talk = (*talk, *range(next_block, next_block + more))[:250]
        next_block += more
        talks.append(talk)
        request = Request(number, len(talk) * BLOCK_TOKENS, 1 + int(rng.expovariate(1 / 343)), talk)
        arrivals.append((3.0 * (number // 10), request))
    return arrivals
