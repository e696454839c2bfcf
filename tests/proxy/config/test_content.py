"""Kept words, from a configuration."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.content import Content
from proxy.config.schema import Config


def test_nothing_is_kept_unless_somebody_says_so() -> None:
    config = Config()
    assert (config.defaults.content, config.telemetry.content.on_spans) == ("off", False)


def test_bounds() -> None:
    content = Content.model_validate({"days": 0.5, "max_mb": 64, "mask": ["mail", "phone"], "on_spans": True})
    assert (content.days, content.bytes_max, content.mask) == (0.5, 64 * 1024 * 1024, ("mail", "phone"))


@pytest.mark.parametrize("wrong", [{"days": 0}, {"max_mb": 1}, {"mask": ["names"]}, {"keep": "all"}, "off"])
def test_what_means_nothing_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Content.model_validate(wrong)


def test_an_agent_has_its_own_policy() -> None:
    config = Config.model_validate({"agents": {"a": {"content": "full"}}, "defaults": {"content": "digest"}})
    assert (config.rules("a").content, config.rules("b").content) == ("full", "digest")
