"""Which targets may be asked, by what their last attempts told: a breaker for each target and for each provider's key.

A target is left out while its breaker is open, its provider's key is refused, or three quarters of its provider's
targets are out. While half open it gets one trial at a time, of calls that can bear a failure. When more than half of a
pool is out there is panic: nobody is kept from the least bad that are left, and the caller neither retries nor hedges.
How one breaker counts and turns stands in `breaker_state`; which target of several is the best, nobody decides here.
Panic after Envoy's outlier detection and panic threshold.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Final

from policies.breaker_state import Breaker, State, Transition
from policies.breaker_watch import Vendor, Watch
from proxy.types import Call, Target

TRIAL_TOKENS_MAX: Final = 8_000
CHOOSY_S: Final = 5.0  # so long a half-open target waits for a short call that is not critical; then it takes any
FAILED_PROBES: Final = 3  # in a row, where all is well otherwise
FORSAKEN_S: Final = 900.0
BREAKERS_MAX: Final = 4_096  # the names of a wildcard's models come from clients
EXAMINED_MAX: Final = 8
NOT_THE_PROVIDERS: Final = frozenset({"upstream_model_missing"})  # clients may ask for any name
WHY: Final = {
    "consecutive": "too many failures in a row",
    "error_rate": "too many of its calls fail",
    "relapsed": "it failed again soon after it was let back in",
    "auth": "the gate's credential was refused",
    "trial_failed": "its trial failed",
    "probe_failed": "its health was asked for in vain",
}


def unheard(_: Transition) -> None:
    """For whoever need not know of transitions."""


class Breakers:
    """`heard` is told of every transition, of targets and of keys."""

    def __init__(self, heard: Callable[[Transition], None] = unheard, *, breakers_max: int = BREAKERS_MAX) -> None:
        self.troubled: set[str] = set()  # what is not closed: while there is none, there is nothing to ask
        self._heard = heard
        self._max = breakers_max
        self._places: OrderedDict[str, tuple[Breaker, Vendor]] = OrderedDict()  # the longest unused first
        self._vendors: dict[str, Vendor] = {}

    def __repr__(self) -> str:
        return f"Breakers({len(self._places)} targets, {len(self.troubled)} not closed)"

    def __len__(self) -> int:
        return len(self._places)

    # --- before an attempt -------------------------------------------------------------------------------------------

    def why_not(self, call: Call, target: Target, now: float) -> str | None:
        """In words; None: it may be asked."""
        if not self.troubled:
            return None
        breaker, vendor = self._awake(target, now)
        if (why := _barred(vendor.key, call, now)) is not None:
            return f"the provider's key: {why}"
        if (why := _barred(breaker, call, now)) is not None:
            return why
        if vendor.shut and breaker.state == "closed":
            return f"{len(vendor.out)} of its provider's {len(vendor.worked)} targets are out"
        return None

    def usable(self, call: Call, targets: tuple[Target, ...], now: float) -> tuple[tuple[Target, ...], bool]:
        """Those that may be asked, and whether there is panic: no retry and no hedge then. Never none, unless of none:
        when nobody may be asked, it is the half-open ones, else all."""
        if not self.troubled or len(targets) <= 1:  # the only one is asked, and asked again, whatever became of it
            return targets, False
        ranks = [self._rank(call, target, now) for target in targets]
        best = min(ranks)
        for target, rank in zip(targets, ranks, strict=True):
            if rank > best:
                self._places[target.id][0].rejected += 1
        panic = best > 0 or 2 * ranks.count(2) > len(targets)
        return tuple([target for target, rank in zip(targets, ranks, strict=True) if rank == best]), panic

    def trial(self, call: Call, targets: tuple[Target, ...], now: float) -> Target | None:
        """A half-open target for which this call would make a trial. A first attempt should go there, whatever else
        speaks against it, or the target might never be asked again."""
        if not self.troubled or len(targets) == 1:
            return None
        for target in targets:
            breaker, vendor = self._awake(target, now)
            trying = breaker.state == "half_open" or vendor.key.state == "half_open"
            if trying and self.why_not(call, target, now) is None:
                return target
        return None

    def well(self, call: Call, targets: tuple[Target, ...], bad_most: float, now: float) -> bool:
        """Whether there is one of them that may be asked, and all that may be are known to fail at most this share."""
        asked = [target for target in targets if self.why_not(call, target, now) is None]
        return bool(asked) and all(self._place(target)[0].is_well(bad_most, now) for target in asked)

    def begin(self, target: Target, now: float) -> Watch:
        """An attempt is about to be sent."""
        breaker, vendor = self._awake(target, now) if self.troubled else self._place(target)
        self._places.move_to_end(target.id)
        return Watch(breaker, vendor, self._turned)

    # --- probes ------------------------------------------------------------------------------------------------------

    def due_probes(self, now: float) -> tuple[str, ...]:
        """Providers of targets that are open. To be asked now and then: it also forgets those that nobody wants."""
        if not self.troubled:
            return ()
        for name in [name for name in self.troubled if name in self._places and _forsaken(self._places[name][0], now)]:
            self._forget(name)
        return tuple([name for name, vendor in self._vendors.items() if any(map(_probed, vendor.targets.values()))])

    def probe_passed(self, provider: str, now: float) -> None:
        """What is open there becomes half open at once: the probe says that somebody is at home, no more."""
        vendor = self._vendors.get(provider)
        if vendor is None:
            return
        vendor.failed_probes = 0
        for breaker in filter(_probed, vendor.targets.values()):
            self._turned(breaker.admit("probe_ok", now), breaker, vendor)

    def probe_failed(self, provider: str, *, now: float, rng: Random) -> None:
        """After some in a row, what was closed there opens."""
        vendor = self._vendors.get(provider)
        if vendor is None:
            return
        vendor.failed_probes += 1
        if vendor.failed_probes < FAILED_PROBES:
            return
        for breaker in vendor.targets.values():
            if breaker.state == "closed":
                self._turned(breaker.trip("probe_failed", breaker.code, now=now, rng=rng), breaker, vendor)

    def readmit(self, now: float) -> None:
        """An operator may have mended the keys: all that a refused credential has opened gets a trial."""
        for vendor in self._vendors.values():
            for breaker in (vendor.key, *vendor.targets.values()):
                if breaker.state == "open" and breaker.code == "upstream_auth":
                    self._turned(breaker.admit("manual", now), breaker, vendor)

    # --- reports -----------------------------------------------------------------------------------------------------

    def look(self, target: Target) -> tuple[Breaker, Vendor]:
        """What is known of it; looking leaves no trace."""
        vendor = self._vendors.get(target.provider) or Vendor(target.provider)
        return vendor.targets.get(target.id) or Breaker(target.id), vendor

    def state(self, id: str) -> State:
        """The target's own, or its key's where that is worse; of `provider/*` what holds for all that is there: clients
        may make up names that fail. From any thread."""
        provider, _, model = id.partition("/")
        vendor = self._vendors.get(provider)
        if vendor is None:
            return "closed"
        states = (vendor.key.state, vendor.targets.get(id, vendor.key).state)
        if "open" in states or (model == "*" and vendor.shut):
            return "open"
        return "half_open" if "half_open" in states else "closed"

    def rejected(self, id: str) -> int:
        """How often it was left out of a pool; of `provider/*` all of them together. From any thread."""
        vendor = self._vendors.get(id.partition("/")[0])
        if vendor is None:
            return 0
        wild = id.endswith("/*")
        return sum(breaker.rejected for name, breaker in list(vendor.targets.items()) if wild or name == id)

    def closed_at(self, target: Target) -> float | None:
        """When it was let back in, for those that warm it up; None: it is out, or never was."""
        place = self._places.get(target.id)
        return place[0].closed_at if place is not None and place[0].reason == "trial_ok" else None

    # --- transitions -------------------------------------------------------------------------------------------------

    def _turned(self, transition: Transition, breaker: Breaker, vendor: Vendor) -> None:
        name = transition.name
        if breaker is not vendor.key and vendor.targets.get(name) is not breaker:
            return  # it was forgotten while its last attempt ran
        if transition.to == "closed":
            self.troubled.discard(name)
            vendor.out.discard(name)
        else:
            self.troubled.add(name)
            if name in vendor.worked and transition.code not in NOT_THE_PROVIDERS:
                vendor.out.add(name)
        self._heard(transition)

    # --- places ------------------------------------------------------------------------------------------------------

    def _rank(self, call: Call, target: Target, now: float) -> int:
        """0: it may be asked; 1: it is being tried, or suffers for others; 2: it is out."""
        breaker, vendor = self._awake(target, now)
        key = vendor.key
        if breaker.state == "open" or key.state == "open":
            return 2
        if breaker.state == key.state == "closed":
            return 1 if vendor.shut else 0
        return 1 if _barred(key, call, now) or _barred(breaker, call, now) else 0

    def _awake(self, target: Target, now: float) -> tuple[Breaker, Vendor]:
        """Half open, where a wait is over."""
        place = breaker, vendor = self._place(target)
        for each in (breaker, vendor.key):
            if (turned := each.wake(now)) is not None:
                self._turned(turned, each, vendor)
        return place

    def _place(self, target: Target) -> tuple[Breaker, Vendor]:
        place = self._places.get(target.id)
        return self._opened(target) if place is None else place

    def _opened(self, target: Target) -> tuple[Breaker, Vendor]:
        if len(self._places) >= self._max:
            self._make_room()
        vendor = self._vendors.get(target.provider)
        if vendor is None:
            vendor = self._vendors[target.provider] = Vendor(target.provider)
        breaker = vendor.targets[target.id] = Breaker(target.id)
        place = self._places[target.id] = (breaker, vendor)
        return place

    def _make_room(self) -> None:
        """One that is closed, if there is one among those that were not asked for longest."""
        oldest = list(islice(self._places, EXAMINED_MAX))
        self._forget(next((name for name in oldest if name not in self.troubled), oldest[0]))

    def _forget(self, name: str) -> None:
        _, vendor = self._places.pop(name)
        del vendor.targets[name]
        vendor.out.discard(name)
        vendor.worked.discard(name)
        self.troubled.discard(name)


def _barred(breaker: Breaker, call: Call, now: float) -> str | None:
    """Why this call is not to go past it."""
    if breaker.state == "closed":
        return None
    if breaker.state == "open":
        why = WHY.get(breaker.reason or "", "it is out")
        return f"{why}; next trial in {breaker.retry_at - now:.1f} s"
    if breaker.trials:
        return "a trial is running"
    if now - breaker.idle_since >= CHOOSY_S:
        return None
    if call.priority == "critical":
        return "a critical call makes no trial"
    return "a long prompt makes no trial" if call.input_tokens_estimate >= TRIAL_TOKENS_MAX else None


def _probed(breaker: Breaker) -> bool:
    """A probe knows nothing of keys: the health of an engine needs none, and some lists of models are public."""
    return breaker.state == "open" and breaker.code != "upstream_auth"


def _forsaken(breaker: Breaker, now: float) -> bool:
    """Out, and nobody asks for it any more: its place in the configuration is gone, or its clients are."""
    since = breaker.retry_at if breaker.state == "open" else breaker.idle_since
    return breaker.state != "closed" and now - since > FORSAKEN_S
