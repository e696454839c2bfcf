from __future__ import annotations

import json

import pytest

from pricing.prompt_caches import CacheRule, load, rule_of

ROW = {
    "hosts": ["a.test"],
    "models": ["*"],
    "kind": "markers",
    "read": 0.1,
    "write_5m": 1.25,
    "write_1h": 2.0,
    "minimum_tokens": 1024,
    "life_s": 300,
    "markers_max": 4,
}


def table(*rows: dict[str, object]) -> bytes:
    return json.dumps({"about": {"date": "2026-11-22", "source": "s"}, "rules": rows}).encode()


def rule(host: str, model: str) -> CacheRule | None:
    return rule_of(load().of(host), model)


def test_a_host_that_is_not_in_the_table_is_told_nothing() -> None:
    assert load().of("10.0.0.7") == load().of("api.mistral.ai") == load().of("api.openai.com.evil.test") == ()
    assert load().of("evilopenrouter.ai") == ()


def test_the_first_row_that_fits_a_model_decides() -> None:
    newest, before, old = (rule("api.openai.com", model) for model in ("gpt-5.6-sol", "gpt-5.1", "gpt-4o"))
    assert newest is not None and before is not None and old is not None
    assert (newest.kind, newest.write_5m, newest.retention, newest.life_s) == ("key", 1.25, "", 1800)
    assert (before.kind, before.write_5m, before.retention, before.read) == ("key", 1.0, "24h", 0.1)
    assert (old.kind, old.retention, old.read) == ("key", "", 0.5)


def test_small_models_of_one_vendor_have_another_minimum() -> None:
    small, large = (rule("openrouter.ai", f"anthropic/{model}") for model in ("claude-haiku-4.5", "claude-sonnet-4.5"))
    assert small is not None and large is not None
    assert (small.minimum_tokens, large.minimum_tokens) == (4096, 1024)
    other = rule("openrouter.ai", "google/gemini-3-pro")
    assert other is not None and other.kind == "automatic"


def test_a_longer_life_is_nowhere_taken_for_granted() -> None:
    assert not any(each.longer_ttl_covers_prefix for each in load().rules)


@pytest.mark.parametrize(
    "change",
    [
        {"read": 1.5},
        {"read": 0},
        {"write_5m": 0.9},
        {"write_1h": 1.1},
        {"minimum_tokens": 0},
        {"life_s": 0},
        {"markers_max": 5},
        {"kind": "magic"},
        {"hots": []},
    ],
)
def test_a_row_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    assert load(table(ROW)).of("a.test")
    with pytest.raises(ValueError):
        load(table({**ROW, **change}))
