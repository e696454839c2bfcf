"""The fields of a quorum and of a debate: which models are asked, how many of them, and what counts as their answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from policies.answers import Extraction
from policies.vote import SIZE_MAX, SIZES_USUAL, VoteRules
from proxy.config.providers import Block
from proxy.config.values import ModelName, Text
from proxy.types import Mode

MEMBERS_MAX = 9
AGENTS_MAX = 5  # of a debate
ROUNDS_MAX = 3
_PATH = re.compile(r"\$?\.?[^.\[\]]*(?:\.[^.\[\]]+|\[\d{1,4}\])*")


def _sizes(value: object) -> object:
    return (value,) if isinstance(value, int) else value


def _grow(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if not sizes or list(sizes) != sorted(set(sizes)):
        raise ValueError("Input should be a number of answers, or several of which each is larger than the one before")
    return sizes


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    return text


def _path(text: str) -> str:
    if _PATH.fullmatch(text) is None:
        raise ValueError("a path reads result.items[0].value")
    return text


Size = Annotated[int, Field(ge=1, le=SIZE_MAX)]
Sizes = Annotated[tuple[Size, ...], Field(strict=False, max_length=4), BeforeValidator(_sizes), AfterValidator(_grow)]


class Answering(Block):
    """Where in a reply its answer stands. Tools to be called are an answer always."""

    take: Literal["text", "last_line", "tool_call"] = Field(
        default="text", description="All of it, or what it marks as its answer; its last line; or nothing but tools."
    )
    regex: Annotated[Text, Field(max_length=500), AfterValidator(_pattern)] | None = Field(
        default=None, description="The last match of this: its first group, or all of it."
    )
    json_path: Annotated[Text, Field(max_length=500), AfterValidator(_path)] | None = Field(
        default=None, description="A member of the JSON that the reply is, as in `result.items[0]`."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) > 1:
            raise ValueError("an answer is found in one way: take, regex or json_path")
        return self

    def extraction(self) -> Extraction:
        if self.regex is not None:
            return Extraction("regex", self.regex)
        return Extraction(self.take) if self.json_path is None else Extraction("json", self.json_path)


class Voting(Block):
    """A block with them."""

    members: Annotated[tuple[ModelName, ...], Field(strict=False)] = Field(
        default=(), max_length=MEMBERS_MAX, description="`quorum`, `debate`: models, or provider/model; repeats count."
    )
    ask: Sizes = Field(
        default=SIZES_USUAL, description="`quorum`: answers that are asked for at most, and what that grows to on ties."
    )
    answer: Answering = Field(
        default=Answering(), description="`quorum`, `debate`: what of a reply is compared with the others'."
    )
    rule: Literal["majority", "unanimous"] | Size = Field(
        default="majority", description="`quorum`: who has to agree; a number: so many, whoever they are first."
    )
    rounds: int = Field(default=2, ge=1, le=ROUNDS_MAX, description="`debate`: how often everybody answers, at most.")
    max_cost_ratio: float = Field(
        default=10.0, ge=1, le=1_000, description="`debate`: what it may cost at most, by what one call may cost."
    )

    @model_validator(mode="after")
    def _only_of_votes(self) -> Self:
        given = sorted(self.model_fields_set & (OWN["quorum"] | OWN["debate"]))
        if given and not self.members:
            raise ValueError(f"only a quorum or a debate has {given[0]}")
        if isinstance(self.rule, int) and self.rule > self.ask[0]:
            raise ValueError("rule: more members would have to agree than are asked")
        return self

    def check_votes(self, mode: Mode) -> None:
        """Raises ValueError for what is the other's."""
        if mode not in OWN:
            return
        for name in sorted(self.model_fields_set & (OWN["quorum"] | OWN["debate"])):
            if name not in OWN[mode]:
                raise ValueError(f"a {mode} has no {name}")
        if mode == "debate" and not 2 <= len(self.members) <= AGENTS_MAX:
            raise ValueError(f"a debate has 2 to {AGENTS_MAX} members")

    def votes(self) -> VoteRules:
        return VoteRules(
            sizes=self.ask,
            extraction=self.answer.extraction(),
            rule=self.rule,
            rounds=self.rounds,
            cost_ratio_max=self.max_cost_ratio,
        )


OWN: Final[Mapping[str, frozenset[str]]] = {
    "quorum": frozenset({"answer", "ask", "rule"}),
    "debate": frozenset({"answer", "max_cost_ratio", "rounds"}),
}
