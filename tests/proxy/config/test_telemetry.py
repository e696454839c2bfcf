"""What the gate tells of its calls, from a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from proxy.config.load import load
from proxy.config.schema import Config
from proxy.config.telemetry import Telemetry

SERVING = "providers: {simulated: {kind: simulated}}\nmodels: {m: simulated/m}\n"


def test_every_call_has_a_line_unless_somebody_says_otherwise() -> None:
    telemetry = Config().telemetry
    assert (telemetry.log_calls, telemetry.log_format, telemetry.otlp) == ("all", "auto", None)


@pytest.mark.parametrize("log_calls", ["all", "failures", "off"])
def test_which_calls_have_a_line_is_one_plain_word(tmp_path: Path, log_calls: str) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(f"{SERVING}telemetry: {{log_calls: {log_calls}}}\n")  # `off` is a truth value to YAML 1.1
    assert load(file, {}).telemetry.log_calls == log_calls


@pytest.mark.parametrize("wrong", ["none", "errors", True, None])
def test_what_means_nothing_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Telemetry.model_validate({"log_calls": wrong})
