"""Rate limits as they are written become those that are kept: of keys by id, agents by name, targets by their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.rate_limit import Rates
from proxy.config.error import ConfigError
from proxy.config.load import load
from proxy.config.paces import Paces, paces
from proxy.execution.line import Queueing
from proxy.types import KeyRecord

BASE = """
providers:
  sim: {kind: simulated, concurrency: 50}
  other: {kind: simulated}
models:
  small: sim/small
  large: {targets: [{provider: sim, model: large, rpm: 100, tpm: 5000}, other/large]}
  again: {targets: [{provider: sim, model: large, rpm: 200, concurrency: 3}]}
  "other/*": {targets: [{provider: other, model: "*", rpm: 7}]}
"""


class Ring:
    def identify(self, presented: str) -> KeyRecord | None:
        return KeyRecord(f"id-of-{presented}")

    def of(self, id: str) -> KeyRecord | None:
        return KeyRecord(id)


def made(tmp_path: Path, text: str = "") -> Paces:
    file = tmp_path / "headgate.yaml"
    file.write_text(BASE + text)
    return paces(load(file, {}), Ring())


def test_without_limits_nothing_is_limited(tmp_path: Path) -> None:
    accounts = made(tmp_path).accounts
    assert not accounts.any
    assert accounts.each_agent is None


def test_a_targets_limits_are_its_own_wherever_they_stand(tmp_path: Path) -> None:
    targets = made(tmp_path).targets
    assert targets.of_target("sim/large") == Rates(rpm=100, tpm=5000, concurrency=3)
    assert targets.of_target("other/anything") == Rates(rpm=7)
    assert targets.of_target("sim/small") == Rates()
    assert targets.providers == {"sim": Rates(concurrency=50)}


def test_an_agent_has_its_own_limits_and_else_those_of_the_defaults(tmp_path: Path) -> None:
    text = "defaults: {rpm: 60, concurrency: 4}\nagents: {a: {rpm: 600}, b: {rpm: null, concurrency: null}, c: {}}\n"
    accounts = made(tmp_path, text).accounts
    assert accounts.agents == {"a": Rates(rpm=600, concurrency=4), "b": None, "c": Rates(rpm=60, concurrency=4)}
    assert accounts.each_agent == Rates(rpm=60, concurrency=4)


def test_a_keys_limits_are_found_under_its_id_and_the_defaults_are_not_a_keys(tmp_path: Path) -> None:
    text = "defaults: {rpm: 60}\nkeys: [{key: first-key, tpm: 1000}, {key: second-key}, {key: '', rpm: 5}]\n"
    assert made(tmp_path, text).accounts.keys == {"id-of-first-key": Rates(tpm=1000)}


def test_waiting_has_its_bounds(tmp_path: Path) -> None:
    assert made(tmp_path).queueing == Queueing(10.0, 1_000)
    assert made(tmp_path, "limits: {queue_wait_s: 0, queue_max: 5}\n").queueing == Queueing(0.0, 5)


@pytest.mark.parametrize("field", ["rpm: 0", "tpm: -1", "concurrency: 1.5", "rpm: many"])
def test_a_limit_is_a_whole_number_above_nothing(tmp_path: Path, field: str) -> None:
    with pytest.raises(ConfigError, match=field.split(":", maxsplit=1)[0]):
        made(tmp_path, f"defaults: {{{field}}}\n")


ENGINES = """
providers:
  own: {kind: openai, engine: vllm, base_url: "http://gpu/v1"}
  own_off: {kind: openai, engine: vllm, base_url: "http://gpu/v1", adaptive: off}
  vendor: {kind: openai, api_key: k}
  vendor_on: {kind: openai, api_key: k, adaptive: on}
  sim: {kind: simulated}
models:
  m: {targets: [own/m]}
"""


def test_concurrency_is_learned_of_engines_at_once_and_of_vendors_after_a_refusal(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(ENGINES)
    assert paces(load(file, {}), Ring()).targets.adaptive == {
        "own": "measured",
        "vendor": "refusals",
        "vendor_on": "started",
    }
