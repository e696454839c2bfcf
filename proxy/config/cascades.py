"""The fields of a cascade: which models are tried, the cheapest first, and when the answer of one is good enough."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from policies.accept_rules import GATES_USUAL, Agree, CascadeRules, GateName, Judge, OnNoMoney, Revise, Verify
from proxy.config.providers import Block
from proxy.config.values import HttpAddress, ModelName, Seconds, Share, Switch, Text, Usd, usd_nanos

STEPS_MAX = 9
PATTERN_CHARS_MAX = 500
SHADOW_USUAL: Final = 0.05


def _pattern(text: str) -> str:
    """Read as it will be, but for what only the other library knows: better refused here than never matched."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    return text


Gates = Annotated[tuple[GateName, ...], Field(strict=False)]
Pattern = Annotated[Text, Field(max_length=PATTERN_CHARS_MAX), AfterValidator(_pattern)]


class Agreeing(Block):
    """A second answer has to be the same, once both are put into one form."""

    model: ModelName | None = Field(default=None, description="Another configured model; unset: the step's own again.")
    samples: int = Field(default=1, ge=1, le=4, description="So many further answers, all of them the same.")


class Judging(Block):
    """A model that marks answers by a rubric, from 0 to 1."""

    model: ModelName = Field(description="A configured model; it is asked in a call of its own.")
    rubric: Text = Field(min_length=1, max_length=4_000, description="What a good answer is, in words.")
    budget: Usd = Field(default="1", description="What it may cost a day, in USD; once spent, nothing is accepted.")
    least: Share = Field(default=0.7, description="The mark from which on an answer is accepted.")
    timeout_s: Seconds = Field(default=30.0, description="Later it has not answered.")

    def rules(self) -> Judge:
        return Judge(self.model, self.rubric, usd_nanos(self.budget), self.timeout_s, self.least)


class Verifying(Block):
    """A service of your own that is sent each answer and says whether it holds."""

    url: HttpAddress = Field(description="It is sent a POST; loopback and private addresses are fine.")
    timeout_s: Seconds = Field(default=10.0, description="Later it has not answered.")


class Cascading(Block):
    """A block with them."""

    steps: Annotated[tuple[ModelName, ...], Field(strict=False)] = Field(
        default=(), max_length=STEPS_MAX, description="`cascade`: models, or provider/model, the cheapest first."
    )
    accept: Gates = Field(default=GATES_USUAL, description="`cascade`: the gates that an answer has to pass.")
    pattern: Pattern = Field(default="", description="`cascade`: what the gate `regex` looks for in an answer.")
    hold: int | None = Field(
        default=None, ge=1, le=4_096, description="`cascade`: tokens of a stream that are judged; unset: all of it."
    )
    on_no_money: OnNoMoney = Field(
        default="best", description="`cascade`: where nobody else can be asked, the last answer, marked, or an error."
    )
    revise: Revise = Field(
        default="off", description="`cascade`: who is told once what was wrong, the `same` step or the `next`."
    )
    agree: Agreeing | None = Field(default=None, description="`cascade`: a second answer has to be the same; off.")
    judge: Judging | None = Field(default=None, description="`cascade`: a model marks answers; off.")
    verify: Verifying | None = Field(default=None, description="`cascade`: a service of yours verifies answers; off.")

    max_loss: Share | None = Field(
        default=None, gt=0, description="`cascade`: how many cheap answers may be worse than the last step's; off."
    )
    shadow: Share | None = Field(
        default=None, description="`cascade`: of them, how many are asked of the last step too; 0.05 with max_loss."
    )
    shadow_budget: Usd = Field(default="5", description="`cascade`: what that may cost a day, in USD.")
    sticky: Switch = Field(
        default=True, description="`cascade`: a run stays at the step that answered it last, until moving down pays."
    )
    dear_share: Share | None = Field(
        default=None, gt=0, description="`cascade`: calls that may begin at the last step, as is learnt by kind; off."
    )

    @model_validator(mode="after")
    def _only_of_cascades(self) -> Self:
        given = sorted(self.model_fields_set & OWN)
        if given and not self.steps:
            raise ValueError(f"only a cascade has {given[0]}")
        if ("regex" in self.accept) != bool(self.pattern):
            raise ValueError("the gate `regex` and a pattern go together")
        if self.hold is not None and (self.agree or self.judge or self.verify or self.revise != "off"):
            raise ValueError("agree, judge, verify and revise need all of an answer: leave out hold")
        if self.hold is not None and (self.max_loss or self.shadow):
            raise ValueError("max_loss and shadow need all of an answer: leave out hold")
        return self

    def cascade(self) -> CascadeRules:
        agree, judge, verify = self.agree, self.judge, self.verify
        shadow = 0.0 if self.max_loss is None else SHADOW_USUAL
        return CascadeRules(
            accept=self.accept,
            pattern=self.pattern,
            hold=self.hold,
            on_no_money=self.on_no_money,
            revise=self.revise,
            agree=None if agree is None else Agree(agree.model, agree.samples),
            judge=None if judge is None else judge.rules(),
            verify=None if verify is None else Verify(verify.url, verify.timeout_s),
            shadow=shadow if self.shadow is None else self.shadow,
            max_loss=self.max_loss,
            shadow_usd_nanos_a_day=usd_nanos(self.shadow_budget),
            sticky=self.sticky,
            dear_share=self.dear_share,
        )


OWN: Final = frozenset(
    {
        *("accept", "pattern", "hold", "on_no_money", "revise", "agree", "judge", "verify"),
        *("max_loss", "shadow", "shadow_budget", "dear_share", "sticky"),
    }
)
