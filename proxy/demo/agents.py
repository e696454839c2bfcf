"""The scripted agents: which runs there are, when each begins, what each step adds to the conversation.

All of it follows from the seed, so both columns play the same script. A run keeps its system prompt and resends its
whole history, as agents do; every third one hands a part of the work to two sub-agents, which are runs of their own.
Support is asked the same few things again and again.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, structs

from proxy.demo.story import Story
from proxy.providers.simulated_answer import Draw

AGENTS = ("planner", "researcher", "coder", "reviewer", "tester", "writer", "analyst", "support")
SUPPORT, QUESTIONS = "support", 4  # so many different runs it has
LARGE = ("planner", "reviewer")  # they ask for the dear model
CALL_S = 0.7  # what a call takes on a good day, for the timetable only
FAN_OUT = 2
RUNS_MAX = 1_000  # of one worker
WORKERS = "abc"  # of each agent, side by side: a tail is seen in many calls only


class Step(Struct, frozen=True):
    said: str  # by the user or a tool, since the last answer
    think_s: float  # pause after the answer
    children: tuple[Run, ...] = ()  # begun together after the answer; the next step needs them


class Run(Struct, frozen=True):
    id: str
    agent: str
    model: str
    begins_s: float
    system: str
    steps: tuple[Step, ...]
    parent: str | None = None

    def tree(self) -> Iterator[Run]:
        yield self
        for step in self.steps:
            for child in step.children:
                yield from child.tree()


def timetable(seed: int, story: Story) -> dict[str, tuple[Run, ...]]:
    """The runs of each worker, in order; a worker does one at a time."""
    workers = [(agent, f"{agent}-{letter}") for letter in WORKERS for agent in AGENTS]
    return {
        name: tuple(_runs(seed, number, agent, name=name, story=story)) for number, (agent, name) in enumerate(workers)
    }


def _runs(seed: int, number: int, agent: str, *, name: str, story: Story) -> Iterator[Run]:
    system = text(Draw(f"{seed}:system:{agent}".encode()), 2_000, 4_000)
    begins_s = 0.1 * number
    for count in range(1, RUNS_MAX + 1):
        draw = Draw(_script(seed, agent, name, count).encode())
        steps = _steps(draw, 3 + draw.below(4), story.think_s)
        model = "sim-large" if agent in LARGE else "sim-small"
        run = Run(f"{name}{count}", agent, model, begins_s, system, steps)
        if (number + count) % 3 == 0:
            run = _with_children(run, draw, story.think_s)
        ends_s = begins_s + _length_s(run)
        if count > 1 and ends_s > story.seconds:
            return
        yield run
        begins_s = ends_s + story.think_s


def _script(seed: int, agent: str, name: str, count: int) -> str:
    """What a run's words follow from."""
    own = f"{seed}:run:{name}:{count}"
    return f"{seed}:question:{Draw(own.encode()).below(QUESTIONS)}" if agent == SUPPORT else own


def _steps(draw: Draw, count: int, think_s: float) -> tuple[Step, ...]:
    return tuple(Step(text(draw, 300, 1_500), draw.log_normal(think_s, 0.6)) for _ in range(count))


def _with_children(run: Run, draw: Draw, think_s: float) -> Run:
    children = tuple(
        Run(f"{run.id}.{number}", run.agent, "sim-small", 0.0, run.system, _steps(draw, 2, think_s), parent=run.id)
        for number in range(1, FAN_OUT + 1)
    )
    first, *rest = run.steps
    return structs.replace(run, steps=(structs.replace(first, children=children), *rest))


def _length_s(run: Run) -> float:
    children_s = sum(max(map(_length_s, step.children)) for step in run.steps if step.children)
    return children_s + sum(CALL_S + step.think_s for step in run.steps)


def text(draw: Draw, least: int, most: int) -> str:
    """Words, from `least` to `most` characters and the rest of the last one."""
    wanted = least + draw.below(most - least)
    words: list[str] = []
    size = 0
    while size < wanted:
        words.append(draw.word())
        size += len(words[-1]) + 1
    return " ".join(words)
