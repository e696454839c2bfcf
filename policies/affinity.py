"""How much of a prompt each target has in memory already: what a call would not have to pay for there.

Two things speak for a target: the index of what was sent to it, and that it is the home of the call's run. The index is
as large as the target's memory is said to be, and is corrected by what the target reports: promises that were not kept
make it smaller, prompts found against expectation larger. Gates that cannot tell each other where runs are served agree
without a word: each ranks the targets by the run's key and one hash (rendezvous; Thaler and Ravishankar, 1998). What a
miss costs, and where to go, is `load`'s and `balance`'s word.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from policies.homes import Home, Homes
from policies.prefix import BLOCK_TOKENS, Prefix
from policies.prefix_index import PrefixIndex
from policies.recent import Recent
from proxy.types import Target

KV_TOKENS: Final = 256_000  # of an engine whose memory nobody has stated
FLOOR: Final = 0.3  # of the last prompt: so much is expected at a run's home, even if the index has forgotten it
SHARED_FLOOR: Final = 1.1  # the same where several processes send to it: each knows too little to move a run
CANDIDATE_SHARE: Final = 0.9  # of a prompt, at the first of its candidates
CANDIDATES: Final = 2  # of each run, where gates agree by rendezvous
AWAY_S: Final = 300.0  # a run whose home is out goes back to it within so long
TARGETS_MAX: Final = 1_024
BLOCKS_MAX: Final = 65_536  # of one index
BEGINNINGS_MAX: Final = 65_536  # of prompts; one that is forgotten is expected nowhere but at its run's home

JUDGED: Final = 25  # calls of a target between two corrections of its index
KEPT_SHARE: Final = 0.7  # of a promise that counts as kept
HALF: Final = 0.5  # of the last prompt: what is promised above it is hot
FALSE_HOT_MAX, FALSE_COLD_MAX = 0.08, 0.1  # shares of the judged calls
SMALLER, LARGER = 0.9, 1.2
SIZE_LEAST, SIZE_MOST = 0.1, 10.0  # times what was stated
_WORD: Final = 2**64 - 1


class Promise(Struct, frozen=True):
    """What was expected of one attempt when it was sent, in tokens."""

    target: str
    cached: float
    indexed: float  # the index's own word
    last: int  # of the prompt before, where the call goes on with a run that is at home there; 0: it does not
    asked: int


class Told(Struct):
    """Tokens that a target was expected to have in memory, and that it said it had, of the calls it reported on."""

    expected: int = 0
    reported: int = 0


class _Replica:
    """What is known of one target."""

    __slots__ = ("cold", "hot", "id", "index", "judged", "kv_tokens", "name", "out_at", "stated", "told")

    def __init__(self, target: Target, block_tokens: int) -> None:
        self.name = target.id
        self.id = stable(target.id)
        self.kv_tokens: int | None = -1
        self.stated = 1
        self.index = PrefixIndex(1)
        self.restate(target, block_tokens)
        self.told = Told()
        self.judged = self.hot = self.cold = 0
        self.out_at: float | None = None

    def restate(self, target: Target, block_tokens: int) -> None:
        """What was learnt of its memory holds until something else is stated."""
        if target.traits.kv_tokens == self.kv_tokens:
            return
        self.kv_tokens = target.traits.kv_tokens
        self.stated = min(BLOCKS_MAX, max(1, (self.kv_tokens or KV_TOKENS) // block_tokens))
        self.index.capacity = self.stated

    def judge(self, promise: Promise, cached: float) -> None:
        self.judged += 1
        if promise.indexed >= HALF * promise.last:
            self.hot += cached < KEPT_SHARE * promise.indexed
        else:
            self.cold += cached >= KEPT_SHARE * promise.last
        if self.judged < JUDGED:
            return
        if self.hot > FALSE_HOT_MAX * JUDGED and self.hot > self.cold:
            self._resize(SMALLER)
        elif self.cold > FALSE_COLD_MAX * JUDGED:
            self._resize(LARGER)
        self.judged = self.hot = self.cold = 0

    def _resize(self, times: float) -> None:
        most = min(BLOCKS_MAX, SIZE_MOST * self.stated)
        self.index.capacity = max(1, int(min(most, max(SIZE_LEAST * self.stated, times * self.index.capacity))))


class Affinity:
    """One a process. `homes`: in memory that all `processes` of the gate share, each of which sees its part of what a
    target reads. `unshared` may be set at any time: other gates, with homes of their own, send to the same targets."""

    def __init__(
        self,
        homes: Homes | None = None,
        *,
        processes: int = 1,
        block_tokens: int = BLOCK_TOKENS,
    ) -> None:
        self.unshared = False
        self._homes = homes or Homes()
        self._alone = processes == 1
        self._floor = FLOOR if processes == 1 else SHARED_FLOOR
        self._block_tokens = block_tokens * processes
        self._replicas: OrderedDict[str, _Replica] = OrderedDict()  # the longest unused first
        self._by_id: dict[int, _Replica] = {}
        self._begun: Recent[int, set[str]] = Recent(BEGINNINGS_MAX, set)  # first block -> targets it was sent to

    def __repr__(self) -> str:
        return f"Affinity({', '.join(f'{id}: {replica.index}' for id, replica in self._replicas.items())})"

    def candidates(self, prefix: Prefix, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """Those that the run may go to, the first of its ranking first: all, unless gates agree by it."""
        if not self.unshared or len(targets) <= 1:
            return targets
        ranked = sorted(targets, key=lambda target: mixed(prefix.key, self._of(target).id), reverse=True)
        return tuple(ranked[:CANDIDATES])

    def expected(self, prefix: Prefix, targets: Sequence[Target], now: float) -> dict[str, float]:
        """Tokens of the prompt that each of the candidates is expected to have in memory, by its id; those that are
        missing have none. The home of a run may be none of them."""
        hashes, tokens = prefix.hashes, prefix.tokens
        a_block = tokens / len(hashes)
        found = {name: self._replicas[name].index.matched(hashes) * a_block for name in self._holders(hashes[0])}
        home = self._home(prefix, targets[0], now)
        if home is not None:
            if home.target not in self._by_id:  # another process sent it to one that this one has not met
                self._meet(targets)
            replica = self._by_id.get(home.target)
            if replica is not None:
                floor = 1.0 if self.unshared else self._floor
                found[replica.name] = max(found.get(replica.name, 0.0), min(tokens, home.tokens * floor))
        return found

    def started(self, prefix: Prefix, target: Target, now: float) -> Promise:
        """The prompt is sent there: from now on it is expected there, and its run is at home."""
        home = self._homes.find(prefix.key, now) if prefix.run else None
        promise = self._promised(prefix, target, home)
        if prefix.run and (home is None or promise.last or not self._comes_back(home.target, now)):
            self._homes.move(prefix.key, Home(self._of(target).id, prefix.tokens), now)
        return promise

    def copied(self, prefix: Prefix, target: Target, now: float) -> Promise:
        """A second copy of a late call is sent there; its run stays where it is at home."""
        return self._promised(prefix, target, self._homes.find(prefix.key, now) if prefix.run else None)

    def _promised(self, prefix: Prefix, target: Target, home: Home | None) -> Promise:
        replica = self._of(target)
        replica.restate(target, self._block_tokens)
        self._replicas.move_to_end(target.id)
        indexed = replica.index.matched(prefix.hashes) * prefix.tokens / len(prefix.hashes)
        replica.index.touch(prefix.hashes)
        self._begun.get(prefix.hashes[0]).add(replica.name)
        last = min(home.tokens, prefix.tokens) if home is not None and home.target == replica.id else 0
        cached = max(indexed, min(prefix.tokens, last * self._floor))
        return Promise(target.id, cached, indexed, last, prefix.tokens)

    def ended(self, promise: Promise, cached_tokens: int, input_tokens: int) -> None:
        """What the target reported of the prompt. Shares are compared, as its tokens are not the gate's estimates."""
        replica = self._replicas.get(promise.target)
        if replica is None or not input_tokens:
            return
        replica.told.expected += int(promise.cached / promise.asked * input_tokens)
        replica.told.reported += cached_tokens
        if promise.last and self._alone and not self.unshared:  # of what others send there the index knows nothing
            replica.judge(promise, cached_tokens / input_tokens * promise.asked)

    def out(self, target_id: str, now: float) -> None:
        """It is not asked for the time being. Runs that are at home there go elsewhere and come back."""
        replica = self._replicas.get(target_id)
        if replica is not None and replica.out_at is None:
            replica.out_at = now

    def back(self, target_id: str) -> None:
        """It is asked again."""
        replica = self._replicas.get(target_id)
        if replica is not None:
            replica.out_at = None

    def lost(self, target_id: str) -> None:
        """It is not there any more: whatever comes back has an empty memory."""
        replica = self._replicas.get(target_id)
        if replica is not None:
            replica.index.clear()

    def told(self, target_id: str) -> Told:
        replica = self._replicas.get(target_id)
        return Told() if replica is None else replica.told

    def held_tokens(self, target_id: str) -> int:
        """Tokens of prompts that it is thought to have."""
        replica = self._replicas.get(target_id)
        return 0 if replica is None else len(replica.index) * BLOCK_TOKENS

    def _home(self, prefix: Prefix, first: Target, now: float) -> Home | None:
        if self.unshared:
            return Home(self._of(first).id, int(CANDIDATE_SHARE * prefix.tokens))
        return self._homes.find(prefix.key, now) if prefix.run else None

    def _holders(self, first: int) -> set[str]:
        """Targets that have the first block of a prompt. All others, mostly nearly all, need not be asked."""
        begun = self._begun.find(first)
        if not begun:
            return set()
        gone = [name for name in begun if name not in self._replicas or first not in self._replicas[name].index]
        begun.difference_update(gone)
        return begun

    def _meet(self, targets: Sequence[Target]) -> None:
        for target in targets:
            self._of(target)

    def _comes_back(self, home: int, now: float) -> bool:
        replica = self._by_id.get(home)
        return replica is not None and replica.out_at is not None and now - replica.out_at < AWAY_S

    def _of(self, target: Target) -> _Replica:
        replica = self._replicas.get(target.id)
        if replica is None:
            replica = self._replicas[target.id] = _Replica(target, self._block_tokens)
            self._by_id[replica.id] = replica
            if len(self._replicas) > TARGETS_MAX:
                del self._by_id[self._replicas.popitem(last=False)[1].id]
        return replica


def stable(name: str) -> int:
    """64 bits that every process makes of it."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def mixed(key: int, id: int) -> int:
    """Where a target stands in the ranking of a key: the last step of splitmix64 (Steele, Lea and Flood, 2014)."""
    word = (key ^ id) & _WORD
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _WORD
    return word ^ word >> 31
