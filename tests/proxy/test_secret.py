from __future__ import annotations

import copy
import json
import logging
import pickle
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from proxy.config.tree import typed
from proxy.secret import MASK, Secret

CANARY = "sk-canary-0123456789"


class Holder(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)
    key: Secret | None = None


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r}".format,
        "{:>12}".format,
        lambda secret: f"{[secret]}",
        lambda secret: "%s %r" % (secret, {"key": secret}),  # noqa: UP031
        lambda secret: repr(Holder(key=secret)),
        lambda secret: Holder(key=secret).model_dump_json(),
        lambda secret: str(Holder(key=secret).model_dump()),
        lambda secret: logging.makeLogRecord({"msg": "%s", "args": (secret,)}).getMessage(),
    ],
)
def test_whatever_shows_a_secret_shows_the_same_mask_for_every_secret(show: Any) -> None:
    assert CANARY not in show(Secret(CANARY))
    assert show(Secret(CANARY)) == show(Secret("other"))
    assert MASK in show(Secret(CANARY))


@pytest.mark.parametrize("serialise", [pickle.dumps, json.dumps, msgspec.json.encode, vars])
def test_a_secret_is_not_serialised_by_accident(serialise: Any) -> None:
    with pytest.raises(TypeError) as refusal:
        serialise(Secret(CANARY))
    assert CANARY not in str(refusal.value)


def test_only_reveal_gives_the_text() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert CANARY not in Secret(CANARY).digest()


def test_secrets_of_the_same_text_are_equal_and_never_equal_to_the_text() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY + "x")
    assert Secret(CANARY) != CANARY
    assert len({Secret(CANARY), Secret(CANARY)}) == 1


def test_copies_of_a_secret_are_the_secret_itself() -> None:
    secret = Secret(CANARY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_a_number_in_a_file_is_a_secret_as_it_was_written() -> None:
    assert Holder(key=typed("0123")).key == Secret("0123")  # type: ignore[arg-type]
    assert Holder(key=typed("1.50")).key == Secret("1.50")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [f"{CANARY}\n", f" {CANARY}", f"{CANARY}\0", f"{CANARY}ü", True, [CANARY]])
def test_what_no_header_can_carry_is_refused_without_being_shown(value: Any) -> None:
    with pytest.raises(ValidationError) as refusal:
        Holder(key=value)
    assert CANARY not in str(refusal.value)


def test_an_empty_secret_is_false() -> None:
    assert not Secret("")
    assert Secret("x")
