from __future__ import annotations

from pathlib import Path

import pytest

from policies.accept_rules import GATES_USUAL, Agree, CascadeRules, Judge, Verify
from proxy.config.load import ConfigError, load

BASE = """\
providers:
  sim: {kind: simulated}
models:
  small: sim/small
  large: sim/large
  other: {mode: cascade, steps: [small, large]}
"""


def rules(folder: Path, fields: str) -> CascadeRules:
    file = folder / "headgate.yaml"
    file.write_text(BASE + f"  smart: {{mode: cascade, steps: [small, large]{fields}}}\n")
    return load(file, {}).models["smart"].cascade()


def test_two_steps_are_all_it_takes(tmp_path: Path) -> None:
    assert rules(tmp_path, "") == CascadeRules(accept=GATES_USUAL)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (", accept: [finished, not_refused]", CascadeRules(accept=("finished", "not_refused"))),
        (", accept: []", CascadeRules(accept=())),
        (", accept: [regex], pattern: 'ANSWER: (.*)'", CascadeRules(accept=("regex",), pattern="ANSWER: (.*)")),
        (", hold: 64, on_no_money: error", CascadeRules(hold=64, on_no_money="error")),
        (", revise: off", CascadeRules()),
        (", max_loss: 0.1", CascadeRules(max_loss=0.1, shadow=0.05)),
        (", max_loss: 0.1, shadow: 0", CascadeRules(max_loss=0.1, shadow=0.0)),
        (", shadow: 0.2, shadow_budget: 1", CascadeRules(shadow=0.2, shadow_usd_nanos_a_day=1_000_000_000)),
        (", dear_share: 0.3", CascadeRules(dear_share=0.3)),
        (", revise: next", CascadeRules(revise="next")),
        (", agree: {}", CascadeRules(agree=Agree())),
        (", agree: {model: large, samples: 2}", CascadeRules(agree=Agree("large", 2))),
        (
            ", judge: {model: large, rubric: right?, budget: 2.5, least: 0.8, timeout_s: 5}",
            CascadeRules(judge=Judge("large", "right?", 2_500_000_000, 5.0, 0.8)),
        ),
        (
            ", verify: {url: 'http://127.0.0.1:9000/check'}",
            CascadeRules(verify=Verify("http://127.0.0.1:9000/check", 10.0)),
        ),
    ],
)
def test_what_is_written_is_what_holds(tmp_path: Path, fields: str, expected: CascadeRules) -> None:
    assert rules(tmp_path, fields) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (", accept: [fine]", "models.smart.accept.0: "),
        (", accept: [regex]", "the gate `regex` and a pattern go together"),
        (", max_loss: 0", "models.smart.max_loss: "),
        (", max_loss: 0.1, hold: 9", "max_loss and shadow need all of an answer: leave out hold"),
        (", pattern: x", "the gate `regex` and a pattern go together"),
        (", accept: [regex], pattern: '('", "it is no regular expression: missing ), unterminated"),
        (", hold: 64, agree: {}", "leave out hold"),
        (", hold: 64, revise: same", "leave out hold"),
        (", agree: {model: larg}", "there is no model 'larg'; did you mean 'large'?"),
        (", judge: {model: other, rubric: x}", "it must name a model that answers alone"),
        (", judge: {model: smart, rubric: x}", "it must name a model that answers alone"),
        (", verify: {url: 'ftp://x'}", "Input should be an address"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, fields: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        rules(tmp_path, fields)
    assert any(message in line for line in refused.value.messages), refused.value.messages


def test_only_a_cascade_has_gates(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(BASE + "  mine: {targets: [sim/small], hold: 3}\n")
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert any("only a cascade has hold" in line for line in refused.value.messages)
