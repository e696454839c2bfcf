"""The whole gate under a trace: costs are those of arithmetic, a cascade escalates, a seed is a day."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from loadtests.replay.recorded import Run
from policies.accept_rules import GATES_USUAL, CascadeRules, Judge
from proxy.config.schema import Config
from proxy.config.tree import Value
from proxy.simulate.target import Quality
from proxy.simulate.virtual import run
from proxy.simulate.world import (
    ENGINE_BLOCKS,
    Lived,
    Setting,
    UnknownModel,
    _closed,
    character,
    lived,
)
from tests.proxy.simulate.samples import config, runs

CASCADE: Value = {"mode": "cascade", "steps": ["a/small", "b/large"]}
WEAK = Quality({"small": 0.6, "large": 1.0}, seen=1.0)


def play(folder: Path, of: Config, trace: Sequence[Run] | None = None, setting: Setting | None = None) -> Lived:
    return run(lived(of, trace or runs(), setting or Setting(), folder=folder, step=lambda: None))


def usd_nanos(lived: Lived) -> int:
    return sum(ended.outcome.cost_usd_nanos or 0 for ended in lived.ended)


def test_every_call_is_served_and_costs_what_its_tokens_do(tmp_path: Path) -> None:
    seen = play(tmp_path, config())
    assert [ended.right for ended in seen.ended] == [True] * 40
    new, read = 2_048 + 3 * 512, 2_048 + 2_560 + 3_072  # of a run: only what is new in a prompt is not cached
    assert usd_nanos(seen) == 10 * (new * 10_000 + read * 1_000 + 4 * 100 * 20_000)
    assert len(seen.runs_s) == 10
    assert seen.aside == ()


def test_a_cascade_asks_the_cheap_model_and_escalates_what_can_be_seen(tmp_path: Path) -> None:
    seen = play(tmp_path, config(m=CASCADE), runs(240, 1), Setting(quality=WEAK))
    escalated = sum(len(ended.outcome.climbed) > 1 for ended in seen.ended) / len(seen.ended)
    assert abs(escalated - 0.4) < 0.08
    assert all(ended.right for ended in seen.ended), "all that is wrong can be seen, and the strong model is right"


def test_a_run_that_has_climbed_stays_up_as_it_does_in_the_gate(tmp_path: Path) -> None:
    seen = play(tmp_path, config(m=CASCADE), runs(60, 4), Setting(quality=WEAK))
    stayed = [ended.outcome.climbed[0].model == "b/large" for ended in seen.ended]
    assert 0.2 < sum(stayed) / len(stayed) < 0.8


def test_the_same_seed_is_the_same_day_and_another_one_is_not(tmp_path: Path) -> None:
    def day(seed: int, folder: str) -> list[tuple[float, bool | None]]:
        quality = Quality({"small": 0.6}, seen=0.5)
        seen = play(tmp_path / folder, config(m=CASCADE), setting=Setting(seed, quality=quality))
        return [(ended.outcome.duration_s, ended.right) for ended in seen.ended]

    assert day(1, "one") == day(1, "two") != day(2, "three")


def test_equal_questions_are_answered_from_the_cache_where_there_is_one(tmp_path: Path) -> None:
    trace = [*runs(1, 2), Run("again", 600.0, runs(1, 2)[0].calls)]
    plain = config()
    cached = plain.model_copy(
        update={
            "defaults": plain.defaults.model_copy(
                update={"cache": plain.defaults.cache.model_copy(update={"exact": "on"})}
            )
        }
    )
    served = [ended.outcome.served_by for ended in play(tmp_path, cached, trace).ended]
    assert served == ["primary", "primary", "cache", "cache"]


def test_a_model_that_there_is_not_is_told_with_those_there_are(tmp_path: Path) -> None:
    two = config(one="a/small", other="b/large")
    with pytest.raises(UnknownModel, match=r"no model 'm' .*one, other.*--model"):
        play(tmp_path / "a", two)
    assert all(each.right for each in play(tmp_path / "b", two, setting=Setting(model="one")).ended)
    assert all(each.right for each in play(tmp_path / "c", config(only="b/large")).ended), "there is only one"


def test_what_is_outside_of_the_gate_is_left_out_and_named() -> None:
    rules = CascadeRules(accept=(*GATES_USUAL, "regex"), pattern="x", judge=Judge("j", "good?", 1))
    kept, gone = _closed(rules)
    assert gone == ["regex", "judge"]
    assert (kept.accept, kept.judge) == (GATES_USUAL, None)


def test_an_engine_of_ones_own_is_known_by_its_engine_and_its_memory() -> None:
    providers: dict[str, Value] = {
        "gpu": {"kind": "openai", "engine": "vllm", "base_url": "http://127.0.0.1:3/v1", "kv_tokens": 51_200},
        "bare": {"kind": "openai", "engine": "vllm", "base_url": "http://127.0.0.1:4/v1"},
        "sim": {"kind": "simulated", "token_s": {"median": 0.1}},
    }
    made = {name: character(type(config()).model_validate({"providers": {name: value}}).providers[name])
            for name, value in providers.items()}  # fmt: skip
    assert (made["gpu"].own, made["gpu"].blocks) == (True, 100)
    assert made["bare"].blocks == ENGINE_BLOCKS
    assert (made["sim"].own, made["sim"].token_s) == (False, 0.1)
