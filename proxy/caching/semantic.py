"""Where a call asks whether a question that means the same was answered.

Which questions may be compared, which entry may answer and with which chance is `policies.semantic`'s word. Here the
question is embedded and looked for, and the entry served by that chance; otherwise the call is made all the same, and
its answer is what an entry learns by (`lessons`). All of it is one process's memory.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from msgspec import Struct, structs

from policies.cache_rules import CacheRules, owner
from policies.semantic.eligible import why_not_asked, why_not_looked_up
from policies.semantic.lookup import Lookup
from policies.semantic.nominate import nominee
from policies.semantic.quality import SERVE_MAX
from policies.semantic.scope import Question, question_of
from proxy.caching.embedding import embedded
from proxy.caching.lessons import Lessons
from proxy.caching.library import Library, Stored
from proxy.caching.recalled import Recalled
from proxy.caching.semantic_parts import Around, Kit
from proxy.caching.standings import Standing, Standings
from proxy.execution.flight import Answered, Replied
from proxy.execution.record import Record
from proxy.observed import LookedUp, LookUp, Reused
from proxy.reuse import Reuse
from proxy.snapshot import Snapshot
from proxy.types import Call

SERVED_MAX: Final = 10_000  # hits that somebody may still complain of
ALL: Final = Reuse()


class _Served(Struct, frozen=True):
    """One hit. `name`: of its route."""

    entry: str
    name: str
    route: bytes
    error_max: float


class Semantic:
    def __init__(self, kit: Kit, bytes_max: int) -> None:
        self.library = Library(bytes_max)
        self._kit = kit
        self._rng = kit.clock.rng("semantic cache")
        self._standings = Standings()
        self._lessons = Lessons(kit, self.library, self._standings)
        self._served: OrderedDict[str, _Served] = OrderedDict()  # by call

    def __repr__(self) -> str:
        return f"Semantic({self.library!r}, {self._standings!r})"

    async def recall(self, record: Record, cache: CacheRules, snapshot: Snapshot) -> Recalled | None:
        """The answer to a question that means the same, if it may be served. Embedding the question takes a while."""
        call, kit, around = record.call, self._kit, self._around(cache, snapshot)
        if around is None:
            return None
        question = _question(call, around)
        if isinstance(question, str):
            return self._none(record, "bypass", question)
        route = owner(call.identity, around.cache.scope) + call.route.encode()
        standing = self._standings.of(route)
        if standing.quality.off:
            return self._none(record, "bypass", "false hits have switched it off")
        began = kit.clock.now()
        vector = await embedded(call, question.text, around, kit.watch)
        now = kit.clock.now()
        record.upstream_s += now - began  # the wait is the embedder's doing, not the gate's overhead
        record.spent("cache", "semantic", began, now)
        if isinstance(vector, str):
            return self._none(record, "miss", vector)
        standing.quality.looked_up(around.rules.error_max)
        lookup = Lookup(question, vector, route, hash(call.identity.run or question.text))
        near = self.library.near(question.scope, vector, kit.clock.wall())
        found = nominee(question.features, near)
        if isinstance(found, str):
            record.lookup = lookup
            return self._none(record, "miss", found)
        entry = near[found.at][1]
        chance = entry.labels.serve(found.similarity, standing.quality.error_max(around.rules.error_max))
        lookup = structs.replace(lookup, entry=entry.id, similarity=found.similarity, chance=min(SERVE_MAX, chance))
        return self._drawn(record, lookup, entry, standing=standing, around=around)

    def learn(
        self,
        record: Record,
        cache: CacheRules,
        *,
        snapshot: Snapshot,
        answer: tuple[Answered, Replied],
        body: bytes | None,
    ) -> None:
        """All of a call's own answer; None: it was too long to be kept together. Does not wait."""
        around = self._around(cache, snapshot)
        if body is not None and record.lookup is not None and around is not None:
            self._lessons.learn(record, around, answer=answer, body=body)
        record.lookup = None

    def feedback(self, call_id: str, *, right: bool) -> bool:
        """Somebody says of an answer that was served from here whether it was right. False: it was none, or it is too
        long ago. One that was wrong never serves again."""
        served = self._served.pop(call_id, None)
        if served is None:
            return False
        entry, standing = self.library.find(served.entry), self._standings.of(served.route)
        if not right:
            standing.quality.reported(served.error_max)
            if entry is not None:
                entry.labels.quarantined = True
            self._lessons.tell(served.name, served.route)
        return True

    def purge(self, agent: str | None, route: str | None, entry: str | None = None) -> int:
        """How many entries are gone. All three None: all of them, and all that was learnt."""
        if agent is route is entry is None:
            self._standings.forget()
        return self.library.purge(agent, route, entry)

    def _drawn(
        self, record: Record, lookup: Lookup, entry: Stored, *, standing: Standing, around: Around
    ) -> Recalled | None:
        """The entry's answer, by its chance."""
        call, kit = record.call, self._kit
        oldest_s, age_s = (call.reuse or ALL).age_s, entry.kept.age_s(kit.clock.wall())
        if (oldest_s is not None and age_s > oldest_s) or self._rng.random() >= lookup.chance:
            record.lookup = lookup
            near = (
                f"entry {entry.id} is near ({lookup.similarity:.3f}) and answers {lookup.chance:.0%} of such questions"
            )
            return self._none(record, "miss", near)
        bound, kept = entry.labels.wrong_at_most(lookup.similarity), entry.kept
        said = f"entry {entry.id}, {age_s:.0f} s old, similarity {lookup.similarity:.3f}, wrong at most {bound:.3f}"
        record.decided(kit.clock.now(), f"answered from the semantic cache: {said}")
        standing.quality.hit()
        record.looked_up += (LookedUp("semantic", "hit"),)
        self._served[call.id] = _Served(entry.id, call.route, lookup.route, around.rules.error_max)
        if len(self._served) > SERVED_MAX:
            self._served.popitem(last=False)
        record.reused = Reused(
            "semantic",
            age_s,
            kept.cost_usd_nanos,
            kept.tokens,
            key=entry.id,
            similarity=lookup.similarity,
            bound=bound,
        )
        record.served_by = "cache"
        return Recalled(kept)

    def _around(self, cache: CacheRules, snapshot: Snapshot) -> Around | None:
        """None: nobody asked for it, or nobody can embed yet."""
        if cache.semantic is None:
            return None
        return Around(cache, cache.semantic, snapshot, self._kit.side)

    def _none(self, record: Record, result: LookUp, why: str) -> Recalled | None:
        record.decided(self._kit.clock.now(), f"not answered from the semantic cache: {why}")
        record.looked_up += (LookedUp("semantic", result),)
        return None


def _question(call: Call, around: Around) -> Question | str:
    why = why_not_looked_up(call)
    if why is not None:
        return why
    question = question_of(call, owner(call.identity, around.cache.scope), around.snapshot.revision_of(call))
    return question if isinstance(question, str) else why_not_asked(question, around.rules) or question
