"""How well one route's semantic cache does, and what follows: a stricter bound after a false hit, and the switch-off.

A hit is served by chance, and at least one in twenty is not: the call is made, and its answer says whether it would
have been right. Each such label stands for q / (1 - q) hits (q: the chance that it had been served), so the share of
false hits is known without a call of its own (inverse propensity weighting; Horvitz and Thompson, 1952).
"""

from __future__ import annotations

from typing import Final

SERVE_MAX: Final = 0.95  # the rest is asked all the same
FALSE_LEAST: Final = 3  # false hits that were seen, before a cache is switched off
KEPT_LOOKUPS: Final = 10_000.0  # then all that was counted counts half
STEPS_MAX: Final = 8  # halvings of the bound


class Quality:
    """Of one owner's route."""

    __slots__ = (
        "_checked",
        "_clean",
        "_expected",
        "_halved",
        "_hits",
        "_lookups",
        "_told",
        "_wrong",
        "false_hits",
        "labels",
        "off",
    )

    def __init__(self) -> None:
        self._lookups = self._hits = 0.0
        self._checked = self._wrong = 0.0  # in hits that labels stand for
        self._expected = 0.0  # false hits that labels stand for, and that were not counted yet
        self._told = 0.0  # false hits that were served and reported
        self._halved = 0
        self._clean = 0  # lookups since the last false hit
        self.false_hits = 0  # by labels, and reported ones
        self.labels = 0
        self.off = False

    def __repr__(self) -> str:
        return f"Quality({self.false_hit_ratio:.4f} false of {self._hits:.0f} hits, off={self.off})"

    @property
    def false_hit_ratio(self) -> float:
        """Of its hits, as far as labels tell; 0 where there are none."""
        if self._hits <= 0:
            return 0.0
        sampled = self._wrong / self._checked if self._checked else 0.0
        return min(1.0, max(sampled, self._told / self._hits))

    def error_max(self, stated: float) -> float:
        """The bound in force: half of the stated one for each false hit of late."""
        return stated * 0.5**self._halved

    def looked_up(self, stated: float) -> None:
        """After as many lookups without a false hit as the bound grants one for, a halving is taken back."""
        self._lookups += 1
        self._clean += 1
        if self._halved and self._clean * self.error_max(stated) >= 1:
            self._halved -= 1
            self._clean = 0
        if self._lookups >= KEPT_LOOKUPS:
            self._lookups, self._hits, self._told = self._lookups / 2, self._hits / 2, self._told / 2
            self._checked, self._wrong = self._checked / 2, self._wrong / 2

    def hit(self) -> None:
        self._hits += 1

    def labelled(self, chance: float, *, same: bool, stated: float) -> None:
        """A question that was nominated and asked all the same. `chance`: with which it would have been served."""
        self.labels += 1
        if chance <= 0:
            return
        weight = chance / (1 - min(chance, SERVE_MAX))
        self._checked += weight
        if not same:
            self._wrong += weight
            self._expected += min(1.0, weight)
            if self._expected >= 1.0:  # labels that together stand for one
                self._expected -= 1.0
                self._false(stated)

    def reported(self, stated: float) -> None:
        """Somebody says that an answer that was served is wrong."""
        self._told += 1
        self._false(stated)

    def _false(self, stated: float) -> None:
        self.false_hits += 1
        self._halved = min(STEPS_MAX, self._halved + 1)
        self._clean = 0
        wrong = self.false_hit_ratio * self._hits
        if self.false_hits >= FALSE_LEAST and wrong > stated * self._lookups:
            self.off = True
