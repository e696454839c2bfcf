"""Which runs a pool of one's own engines works on: as many as its memory holds. The others wait until there is room.

Past the memory of the engines each call evicts what the next one would have found there, and all become slow together.
So an active run is charged with its last prompt, and a new one begins when all charges and its own fit (`gate_limit`).
A run that was let in goes on; only where prompts have grown far beyond the limit, one that has come less far is parked
between two steps. Children of runs that were let in never wait: their parents may be waiting for them. It knows no
clock, awaits nothing and tells nobody; who waits stands in `gate_line`. After Autellix (Luo et al., 2025), which
schedules whole programs of agents, here outside of the engine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from typing import Final

from msgspec import Struct

from policies.gate_limit import LOW, RUNS, TOKENS, Limit
from policies.gate_line import Ask, GateLine, Run

FLOOR_TOKENS: Final = 60_000.0  # of a run's charge, until it is known how far runs grow
FLOOR_RUNS: Final = 50  # that have ended: from then on it is known
FLOOR_SHARE: Final = 0.7  # of their mean last prompt
FLOOR_MOVES: Final = 0.02  # by less it is left where it is, as all charges depend on it
FOLLOW_RUNS: Final = 500  # the mean is of about so many
CROWDED: Final = 1.1  # times the limit: above it runs are parked
RUNS_MAX: Final = 20_000  # active ones: children and critical calls are not asked whether they fit
LOOK_S: Final = 1.0  # between two looks at how far runs have come


class GateRules(Struct, frozen=True):
    """Of one pool. `share` is of its memory, at first; `runs`: at first, where its memory is not known."""

    share: float = TOKENS.start
    runs: int = int(RUNS.start)
    idle_s: float = 300.0
    waiting_max: int = 1_000  # calls


class RunGate:
    """`enter` for each call; if it went on `ended` in the end, if it waits in vain `gave_up`. `admit`: who goes now."""

    def __init__(self, rules: GateRules, kv_tokens: int | None) -> None:
        """`kv_tokens`: what all engines of the pool hold together; None: nobody knows, so runs are counted."""
        self.rules = rules
        self.kv_tokens = kv_tokens
        self.limit = _limit(rules, kv_tokens)
        self.floor = FLOOR_TOKENS
        self.in_use = 0.0
        self.waiting = 0  # calls
        self.finished = 0  # runs
        self._mean = 0.0  # last prompt of these
        self._active: OrderedDict[str, Run] = OrderedDict()  # the longest unused first
        self._line = GateLine()  # those that are held
        self._arrivals = 0
        self._middle: tuple[float, tuple[int, int]] | None = (
            None  # when runs were looked at; the progress of the middle
        )
        self._crowded = False

    def __repr__(self) -> str:
        return f"RunGate({self.active} active, {self.in_use:.0f} of {self.limit}, {self.waiting} calls wait)"

    @property
    def active(self) -> int:
        return len(self._active)

    @property
    def parked(self) -> int:
        return self._line.parked

    @property
    def queued(self) -> int:
        """Runs that have yet to begin."""
        return len(self._line) - self._line.parked

    def lets_in(self, run: str) -> bool:
        """Whether that run's children go on: it was let in, also if it is parked now."""
        held = self._line.find(run)
        return run in self._active or (held is not None and held.state == "parked")

    def holds(self, run: str, now: float) -> bool:
        """Whether a run has a place here that others may be waiting for."""
        self.expire(now)
        return run in self._active

    def replace(self, rules: GateRules, kv_tokens: int | None) -> None:
        """Other rules, from now on. What was learned stays where it is still about the same memory."""
        if (rules.share, rules.runs, kv_tokens) != (self.rules.share, self.rules.runs, self.kv_tokens):
            self.limit = _limit(rules, kv_tokens)
        self.rules, self.kv_tokens = rules, kv_tokens
        self._recharge_all()

    # --- the way of a call -------------------------------------------------------------------------------------------

    def enter(self, ask: Ask, now: float) -> Run | None:
        """Its run: if that is `active` the call goes on, else it waits. None: too many do."""
        self.expire(now)
        run = self._active.get(ask.run) or self._line.find(ask.run)
        if run is None:
            self._arrivals += 1
            run = Run(ask, self._arrivals)
        if not self._passes(ask, run, now):
            return self._hold(run)
        if run.state != "active":
            self._begin(run, now)
        run.calls += 1
        run.tokens = ask.tokens
        self._recharge(run)
        self._touch(run, now)
        for id in ask.above:  # they are at work too, and will ask again with their own prompts
            if (above := self._active.get(id)) is not None:
                self._touch(above, now)
        return run

    def ended(self, run: Run, now: float, *, input_tokens: int, cached_tokens: int | None) -> None:
        """A call that went on is over. `input_tokens` 0: it was not answered here; `cached_tokens` None: nobody says
        how many of them came out of a cache."""
        run.calls -= 1
        if run.state != "active":
            return
        self._touch(run, now)
        if not input_tokens:
            return
        # One that has grown so much that no memory could serve most of it says nothing of memory.
        continues = run.named and LOW * input_tokens <= run.answered <= input_tokens
        run.steps += 1
        run.tokens = run.answered = input_tokens
        self._recharge(run)
        if continues and cached_tokens is not None:
            self.limit.read(input_tokens, cached_tokens, in_use=self.in_use, wanted=self.waiting > 0)

    def gave_up(self, run: Run) -> None:
        """A call that waits does so no longer."""
        run.waiting -= 1
        self.waiting -= 1
        if not run.waiting:
            self._line.remove(run)
            self._leave(run)

    def admit(self, now: float) -> list[Run]:
        """Runs that go on now with all their calls: those that were parked, the farthest first, before new ones."""
        self.expire(now)
        going: list[Run] = []
        while len(self._line):  # ends: each time one goes, or none may
            run = self._line.first()
            if not self._fits(run):
                break
            self._begin(run, now)
            going.append(run)
        return going

    def release(self, id: str, now: float) -> Run | None:
        """If it waits it goes on now, with all its calls: it was let in elsewhere."""
        run = self._line.find(id)
        if run is not None:
            self._begin(run, now)
        return run

    def killed(self, runs: Container[str]) -> None:
        """Those of them that are active are over."""
        for run in [run for run in self._active.values() if run.id in runs]:
            self.finish(run)

    def expire(self, now: float) -> None:
        """Who has been idle for long counts no more."""
        while self._active:  # ends: each time one goes, or turns out to be at work at this instant
            run = next(iter(self._active.values()))
            if now < run.last_at + self.rules.idle_s:  # as `due_at` adds it up
                return
            if run.calls:
                self._touch(run, now)
            else:
                self.finish(run)

    def due_at(self) -> float | None:
        """When the next one may have been idle for long."""
        run = next(iter(self._active.values()), None)
        return None if run is None else run.last_at + self.rules.idle_s

    def wait_s(self, run: Run, now: float) -> float:
        """What a run that is held will have to wait, if others go on as they did; 0: nobody knows."""
        return self._line.wait_s(run, now)

    def finish(self, run: Run) -> None:
        """An active run is over; of any other: nothing."""
        if run.state != "active":
            return
        del self._active[run.id]
        self.in_use = self.in_use - run.charge if self._active else 0.0
        if run.answered and run.named:
            self.finished += 1
            self._mean += (run.answered - self._mean) / min(self.finished, FOLLOW_RUNS)
            floor = FLOOR_SHARE * self._mean
            if self.finished >= FLOOR_RUNS and abs(floor - self.floor) > FLOOR_MOVES * self.floor:
                self.floor = floor
                self._recharge_all()
        self._leave(run)

    # --- who goes on -------------------------------------------------------------------------------------------------

    def _passes(self, ask: Ask, run: Run, now: float) -> bool:
        if ask.tier == 0 or ask.free or any(self.lets_in(id) for id in ask.above):
            return True
        if run.state == "active":
            return not self._is_to_park(run, now)
        return run.state == "gone" and not len(self._line) and self._fits(run)

    def _fits(self, run: Run) -> bool:
        """One that would never fit goes alone."""
        return not self._active or self.in_use + self._charge(run) <= self.limit.size

    def _is_to_park(self, run: Run, now: float) -> bool:
        """Between two of its steps, and not where that would turn its call away."""
        self._crowded = self.in_use > (1.0 if self._crowded else CROWDED) * self.limit.size
        if not self._crowded or run.calls or self.waiting >= self.rules.waiting_max:
            return False
        if self._middle is None or now - self._middle[0] >= LOOK_S:
            ranked = sorted([each.progress for each in self._active.values()])
            self._middle = now, ranked[len(ranked) // 2]
        return run.progress < self._middle[1]

    def _begin(self, run: Run, now: float) -> None:
        """It is active from now on."""
        charge = self._charge(run)
        if run.state == "gone":
            self._line.pass_by(run, charge)
        else:
            self._line.take(run, charge, now)
        run.calls, run.waiting, waited = run.calls + run.waiting, 0, run.waiting
        self.waiting -= waited
        if len(self._active) >= RUNS_MAX:
            self.finish(next(iter(self._active.values())))
        run.state, run.charge, run.last_at = "active", charge, now
        self._active[run.id] = run
        self.in_use += charge

    def _hold(self, run: Run) -> Run | None:
        """Its call waits, unless too many do. Who was at work before is parked."""
        if self.waiting >= self.rules.waiting_max:
            return None
        if run.state == "active":
            del self._active[run.id]
            self.in_use -= run.charge
        if run.state not in ("waiting", "parked"):
            run.state = "parked" if run.steps else "waiting"
            run.answered = 0  # by its next call it will have been evicted, which says nothing
            self._line.add(run)
        run.waiting += 1
        self.waiting += 1
        return run

    def _leave(self, run: Run) -> None:
        run.state = "gone"
        self._line.leave(run)

    # --- what runs count ---------------------------------------------------------------------------------------------

    def _charge(self, run: Run) -> float:
        return 1.0 if self.kv_tokens is None else max(float(run.tokens), self.floor)

    def _recharge(self, run: Run) -> None:
        charge = self._charge(run)
        self.in_use += charge - run.charge
        run.charge = charge

    def _recharge_all(self) -> None:
        for run in self._active.values():
            self._recharge(run)

    def _touch(self, run: Run, now: float) -> None:
        run.last_at = now
        self._active.move_to_end(run.id)


def _limit(rules: GateRules, kv_tokens: int | None) -> Limit:
    if kv_tokens is None:
        return Limit(RUNS, 1.0, float(rules.runs))
    return Limit(TOKENS, float(kv_tokens), rules.share)
