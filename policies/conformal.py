"""Which cheap answers may be accepted: those whose kind was worse than the strong model's in few enough cases.

A label says of one answer how sure anybody was of it (its score) and whether the strong model agreed. Of the last 500
of an agent, a cascade and a rung the largest set "score at least t" is sought whose loss, by a one-sided binomial bound
of 90 %, is at most what the operator allows; every 50 labels anew. Under 60 labels nothing is accepted. Labels that
come after the fit are a test of it: as soon as they are too bad to be chance, the rung is withdrawn, all that was
learnt of it counts no more, and it has to prove itself again. Scores go into the sets by tenths of the labels, as each
further set that is tried weakens the bound. After "Conformal Risk Control" (Angelopoulos et al., ICLR 2024) and "Learn
then Test" (2021).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from msgspec import Struct

from policies.accept import Verdict
from policies.binomial import as_many, is_below, upper
from policies.recent import Recent

LABELS_LEAST: Final = 60
LABELS_KEPT: Final = 500
LABELS_A_FIT: Final = 50
CONFIDENCE: Final = 0.9
SETS: Final = 10
ODD: Final = 0.01  # how likely what withdraws a rung may be at most, if the rung were as good as it has to be
KNOWN_MAX: Final = 4_096
NEVER: Final = 2.0  # above all scores

Source = Literal["shadow", "escalation", "feedback"]
Key = tuple[str, str, int]


class Label(Struct, frozen=True):
    """`model`: the cascade's name; `kind`: of the call, see `call_kind`. `weight`: less than 1 where one word about a
    run is shared over its steps."""

    agent: str
    model: str
    rung: int
    score: float  # in 0..1
    agreed: bool
    source: Source = "shadow"
    weight: float = 1.0
    kind: str = ""
    last: bool = False  # of the last rung, which nobody has to accept

    @property
    def key(self) -> Key:
        return self.agent, self.model, self.rung


class Standing(Struct, frozen=True):
    """What is known of one rung. `accepts_from` None: it may not answer; `loss_at_most` is of what it may answer, or of
    all it was asked where that is nothing."""

    agent: str
    model: str
    rung: int
    labels: int
    losses: float
    loss_max: float
    loss_at_most: float
    accepts_from: float | None
    accepted_share: float  # of labels
    withdrawn: bool
    withdrawals: int
    said: str


class Standings(Struct, frozen=True):
    """What GET /cascades answers."""

    rows: list[Standing]


class Heard(Struct, frozen=True):
    """What a word of somebody's has changed: so many answers have a label more, or so many rungs were forgotten."""

    answers: int = 0
    rungs: int = 0


class Floor:
    """The labels of one rung."""

    __slots__ = (
        *("_fitted", "_fresh", "_fresh_lost", "_labels", "_since", "accepts_from", "bound", "loss_max", "lost"),
        *("weight", "withdrawals", "withdrawn"),
    )

    def __init__(self) -> None:
        self._labels: deque[Label] = deque(maxlen=LABELS_KEPT)
        self._since = 0  # labels since the last fit
        self._fresh = self._fresh_lost = 0.0  # ... of answers that were acceptable
        self._fitted = False
        self.weight = self.lost = 0.0  # of all labels, of those that did not agree
        self.loss_max = 0.0  # that the fit was made for
        self.accepts_from = NEVER
        self.bound = 1.0
        self.withdrawn = False  # and not yet proven again
        self.withdrawals = 0

    def __repr__(self) -> str:
        return f"Floor({self.count} labels, from {self.accepts_from:.3f}, withdrawn={self.withdrawn})"

    def __iter__(self) -> Iterator[Label]:
        return iter(self._labels)

    @property
    def count(self) -> int:
        return len(self._labels)

    @property
    def open(self) -> bool:
        return self.accepts_from < NEVER

    def learn(self, label: Label, loss_max: float) -> None:
        if len(self._labels) == LABELS_KEPT:
            self._count(self._labels[0], -1)
        self._labels.append(label)
        self._count(label, 1)
        self._since += 1
        if label.score >= self.accepts_from:
            self._fresh += label.weight
            self._fresh_lost += 0.0 if label.agreed else label.weight
            if as_many(self._fresh_lost, self._fresh, self.loss_max) <= ODD:
                self._close()
                self._forget()
                return
        if self._since >= LABELS_A_FIT or not self._fitted or loss_max != self.loss_max:
            self.fit(loss_max)

    def fit(self, loss_max: float) -> None:
        """Finds the largest set anew, if there are labels enough."""
        was_open, same = self.open, loss_max == self.loss_max
        self.loss_max, self.accepts_from, self.bound = loss_max, NEVER, 1.0
        if self.weight < LABELS_LEAST:
            return
        self._since, self._fitted = 0, True
        self._fresh = self._fresh_lost = 0.0
        self.accepts_from, self.bound = _largest(self._labels, loss_max)
        if self.open:
            self.withdrawn = False
        elif was_open and same:
            self._close()

    def standing(self, key: Key) -> Standing:
        whole = self.weight
        inside = sum([label.weight for label in self._labels if label.score >= self.accepts_from])
        return Standing(
            *key,
            labels=self.count,
            losses=self.lost,
            loss_max=self.loss_max,
            loss_at_most=self.bound if self.open else upper(self.lost, whole, CONFIDENCE),
            accepts_from=self.accepts_from if self.open else None,
            accepted_share=inside / whole if whole else 0.0,
            withdrawn=self.withdrawn,
            withdrawals=self.withdrawals,
            said=self.said(),
        )

    def said(self) -> str:
        """Why it may answer, or may not."""
        if self.open:
            return f"worse in at most {self.bound:.1%} of such answers, by {self.count} labels"
        before = "withdrawn, as it was worse too often: " if self.withdrawn else ""
        if self.weight < LABELS_LEAST:
            return f"{before}{self.weight:.0f} of {LABELS_LEAST} labels, so nothing is known"
        return f"{before}no kind of its answers is surely worse in at most {self.loss_max:.1%}, by {self.count} labels"

    def _close(self) -> None:
        self.withdrawn, self.accepts_from, self.bound = True, NEVER, 1.0
        self.withdrawals += 1

    def _forget(self) -> None:
        self._labels.clear()
        self._since, self._fitted = 0, False
        self.weight = self.lost = self._fresh = self._fresh_lost = 0.0

    def _count(self, label: Label, sign: int) -> None:
        self.weight += sign * label.weight
        self.lost += 0.0 if label.agreed else sign * label.weight


class Conformal:
    """All rungs of all cascades, by agent."""

    def __init__(self) -> None:
        self._floors: Recent[Key, Floor] = Recent(KNOWN_MAX, Floor)

    def __repr__(self) -> str:
        return f"Conformal({self._floors!r})"

    def verdict(self, key: Key, score: float, loss_max: float) -> Verdict:
        floor = self._floors.get(key)
        if loss_max != floor.loss_max:
            floor.fit(loss_max)
        if score >= floor.accepts_from:
            return Verdict(True, "evidence", floor.said())
        if floor.open:
            return Verdict(False, "evidence", f"its mark {score:.2f} is below {floor.accepts_from:.2f}: {floor.said()}")
        return Verdict(False, "evidence", floor.said())

    def learn(self, label: Label, loss_max: float) -> Floor:
        floor = self._floors.get(label.key)
        floor.learn(label, loss_max)
        return floor

    def is_open(self, key: Key) -> bool:
        """Whether some answers of the rung are accepted."""
        floor = self._floors.find(key)
        return floor is not None and floor.open

    def reset(self, agent: str | None, model: str | None) -> int:
        """Forgets what it knows; None: whoever it is. How many rungs that were."""
        gone = [key for key in self._floors if agent in (None, key[0]) and model in (None, key[1])]
        for key in gone:
            self._floors.forget(key)
        return len(gone)

    @property
    def standings(self) -> list[Standing]:
        return [floor.standing(key) for key, floor in sorted(self._floors.items())]

    @property
    def labels(self) -> list[Label]:
        """Whoever learns them again knows the same."""
        return [label for _, floor in self._floors.items() for label in floor]


def _largest(labels: Iterable[Label], loss_max: float) -> tuple[float, float]:
    """The lowest score to accept, and the bound on the loss from there on."""
    ranked = sorted(labels, key=lambda label: -label.score)
    for last in _ends(ranked):
        inside = ranked[: last + 1]
        weight = sum([label.weight for label in inside])
        lost = sum([label.weight for label in inside if not label.agreed])
        if is_below(lost, weight, loss_max, CONFIDENCE):
            return inside[-1].score, upper(lost, weight, CONFIDENCE)
    return NEVER, 1.0


def _ends(ranked: list[Label]) -> list[int]:
    """Where the sets end that are tried, the largest first; equal scores are never parted."""
    ends = []
    for part in range(SETS, 0, -1):
        end = max(0, len(ranked) * part // SETS - 1)
        while end + 1 < len(ranked) and ranked[end + 1].score == ranked[end].score:
            end += 1
        ends.append(end)
    return list(dict.fromkeys(ends))
