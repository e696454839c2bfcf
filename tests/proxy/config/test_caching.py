from __future__ import annotations

import pytest
from pydantic import ValidationError

from policies.cache_rules import CacheRules
from policies.semantic.rules import SemanticRules
from proxy.caching.stock import Bounds
from proxy.config import check
from proxy.config.caching import Cache, Caches
from proxy.config.check import references
from proxy.config.tree import shown


def test_the_defaults_are_those_of_the_rules() -> None:
    assert Cache().rules() == CacheRules()
    assert Caches().bounds() == Bounds()


def test_sizes_are_written_in_the_units_that_their_names_say() -> None:
    bounds = Caches(memory_mb=0, entry_max_kb=2, disk_mb=3, replay_mb=4, replay_ttl_s=5).bounds()
    assert bounds == Bounds(memory=0, entry=2_048, disk=3 << 20, replay=4 << 20, replay_s=5.0)


@pytest.mark.parametrize(
    "given", [{"ttl_s": 0}, {"ttl_s": "nan"}, {"stale_s": -1}, {"exact": "yes"}, {"scope": "all"}, {"replay": True}]
)
def test_what_makes_no_sense_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Cache.model_validate(given)


@pytest.mark.parametrize("given", [{"memory_mb": -1}, {"entry_max_kb": 2_000}, {"replay_mb": 0}, {"replay_ttl_s": 0}])
def test_room_has_its_bounds(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Caches.model_validate(given)


def test_a_semantic_cache_is_off_unless_it_is_asked_for_and_says_its_bound() -> None:
    assert Cache().rules().semantic is None
    asked = Cache.model_validate({"semantic": {"model": "e", "judge": "j", "judge_budget": "0.5", "timeout_ms": 50}})
    rules = asked.rules().semantic
    assert rules == SemanticRules("e", 0.01, None, None, 0.05, "j", 500_000_000)


@pytest.mark.parametrize(
    "given", [{}, {"model": "e", "max_error": 0}, {"model": "e", "max_error": 0.5}, {"model": "e", "dimensions": 0}]
)
def test_a_semantic_cache_needs_a_model_and_a_bound(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Cache.model_validate({"semantic": given})


def problems(semantic: dict[str, object]) -> list[str]:
    agents = {"a": {"cache": {"semantic": semantic}}}
    models = {"m": {"targets": []}, "e": {"targets": []}}
    return [f"{shown(problem.path)}: {problem.message}" for problem in references({"models": models, "agents": agents})]  # type: ignore[dict-item]  # narrower than values may be


def test_the_models_that_a_semantic_cache_asks_are_configured() -> None:
    assert problems({"model": "e", "judge": "m"}) == []
    embedder, judge = problems({"model": "x", "judge": "y"})
    assert embedder.startswith("agents.a.cache.semantic.model: there is no model 'x'")
    assert judge.startswith("agents.a.cache.semantic.judge: there is no model 'y'")


def test_without_its_extra_a_semantic_cache_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "missing", lambda: True)
    assert problems({"model": "e"}) == ["agents.a.cache.semantic: it needs the extra: pip install 'headgate[semantic]'"]
