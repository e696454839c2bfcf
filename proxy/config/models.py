"""What agents ask for: a model with its targets, or one that stands for several of them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from proxy.config.cascades import Cascading
from proxy.config.experiments import Experimenting
from proxy.config.fallbacks import Fallbacks
from proxy.config.gating import Gating
from proxy.config.providers import Known
from proxy.config.quorums import Voting
from proxy.config.values import ModelName, Text
from proxy.types import Balance, Mode


class TargetChoice(Known):
    """One model at one provider; short form `provider/model`."""

    provider: Text = Field(description="A name under `providers`.")
    model: ModelName = Field(description="The provider's name for it; a last `*` is what the model's `*` stood for.")
    weight: int = Field(default=1, ge=1, le=1000, description="Its part of the traffic, against the others' weights.")
    order: int | None = Field(default=None, ge=0, le=63, description="For `ordered`: its group; by default its place.")


class Model(Cascading, Voting):
    """What agents ask for; short form: its one target."""

    mode: Mode = Field(
        default="single", description="One answer of one target; or of several models: `cascade`, `quorum`, `debate`."
    )
    targets: Annotated[tuple[TargetChoice, ...], Field(strict=False)] = Field(
        default=(), max_length=64, description="`single`: where the answer may come from."
    )
    balance: Balance = Field(default="score", description="How one of the targets is chosen for a call.")
    cheaper: ModelName | None = Field(default=None, description="The model that answers instead near a budget's end.")
    fallbacks: Fallbacks = Field(default=Fallbacks(), description="The models that answer where this one cannot.")
    gate: Gating | None = Field(default=None, description="New runs wait while its engines' memory is taken.")
    experiment: Experimenting | None = Field(
        default=None, description="It stands for two other models, which are compared; it has nothing of its own."
    )

    @model_validator(mode="after")
    def _fits_its_mode(self) -> Self:
        if self.experiment is not None:
            more = sorted(self.model_fields_set - {"experiment"})
            if more:
                raise ValueError(f"an experiment has no {more[0]}: its two models have their own")
            return self
        wanted = {"single": "targets", "cascade": "steps", "quorum": "members", "debate": "members"}[self.mode]
        given = [name for name in ("targets", "steps", "members") if getattr(self, name)]
        if given != [wanted]:
            raise ValueError(f"a model of mode {self.mode} has {wanted}, and neither of the others")
        self.check_votes(self.mode)
        return self

    @property
    def together(self) -> tuple[str, ...]:
        """The models that answer together."""
        return self.steps or self.members
