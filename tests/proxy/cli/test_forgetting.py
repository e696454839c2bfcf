"""Nothing is forgotten that nobody named, and all of it only where that was said."""

from __future__ import annotations

import argparse

import pytest

from proxy.cli.asking import Refusal
from proxy.cli.forgetting import chosen


def given(
    action: str, *, agent: str | None = None, model: str | None = None, everything: bool = False
) -> dict[str, object] | None:
    args = argparse.Namespace(action=action, agent=agent, model=model, all=everything, other="x")
    return chosen(args, ("agent", "model"), action="reset", which="of which")


def test_what_was_named_is_the_order_and_showing_is_none() -> None:
    assert given("show") is None
    assert given("reset", agent="a") == {"agent": "a"}
    assert given("reset", agent="a", model="m") == {"agent": "a", "model": "m"}
    assert given("reset", everything=True) == {"all": True}


@pytest.mark.parametrize(
    ("action", "agent", "everything", "says"),
    [
        ("show", "a", False, "--agent means something to `reset` only"),
        ("show", None, True, "--all means something to `reset` only"),
        ("reset", None, False, "of which[?] --agent or --model, or else --all"),
        ("reset", "a", True, "of which[?] --agent or --model, or else --all"),
    ],
)
def test_what_could_be_meant_otherwise_is_refused(action: str, agent: str | None, everything: bool, says: str) -> None:
    with pytest.raises(Refusal, match=says) as refused:
        given(action, agent=agent, everything=everything)
    assert refused.value.exit_code == 2
