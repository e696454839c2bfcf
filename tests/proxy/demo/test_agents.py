from __future__ import annotations

from proxy.demo.agents import AGENTS, QUESTIONS, SUPPORT, WORKERS, Run, timetable
from proxy.demo.story import story


def everyone(seed: int, seconds: float) -> list[Run]:
    return [part for runs in timetable(seed, story(seconds)).values() for run in runs for part in run.tree()]


def test_the_same_seed_writes_the_same_script() -> None:
    assert timetable(4, story(10.0)) == timetable(4, story(10.0)) != timetable(5, story(10.0))


def test_every_worker_has_work_however_short_the_demo() -> None:
    for seconds in (5.0, 60.0):
        runs = timetable(1, story(seconds))
        assert len(runs) == len(AGENTS) * len(WORKERS)
        assert {first.agent for first, *_ in runs.values()} == set(AGENTS)


def test_a_longer_demo_has_more_runs_and_begins_none_after_its_end() -> None:
    longer = everyone(1, 60.0)
    assert len(longer) > 2 * len(everyone(1, 10.0))
    assert max(run.begins_s for run in longer) < 60.0


def test_a_worker_does_one_run_at_a_time_and_keeps_its_system_prompt() -> None:
    for runs in timetable(1, story(60.0)).values():
        begins = [run.begins_s for run in runs]
        assert begins == sorted(begins)
        assert len({run.system for run in runs}) == 1
        assert len(runs[0].system) >= 2_000


def test_support_is_asked_the_same_few_things_and_nobody_else_is() -> None:
    runs = [run for run in everyone(1, 60.0) if run.parent is None]
    asked = [run.steps[0].said for run in runs if run.agent == SUPPORT]
    assert len(set(asked)) <= QUESTIONS < len(asked)
    others = [run.steps[0].said for run in runs if run.agent != SUPPORT]
    assert len(set(others)) == len(others)


def test_sub_agents_are_runs_of_their_own_that_name_their_parent() -> None:
    runs = everyone(1, 60.0)
    ids = [run.id for run in runs]
    children = [run for run in runs if run.parent is not None]
    assert len(set(ids)) == len(ids)
    assert children
    assert all(child.parent in ids and child.id.startswith(f"{child.parent}.") for child in children)
    assert len(children) < len(runs) / 2
