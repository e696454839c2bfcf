"""What the semantic cache learns from the answers of calls that were made all the same.

The answer of a call is compared with that of the entry that was near: by its words, or by a judge where there is one
and its budget lasts. The same is a label and no entry of its own, another one is a label and an entry, and what nobody
can tell is neither. Labels are all that entries are served by, so nothing is ever served that no model has confirmed.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, structs

from policies.semantic.answer import Answer, answer_of, same
from policies.semantic.confidence import LOWEST
from policies.semantic.eligible import why_not_stored
from policies.semantic.guard import differ
from policies.semantic.judging import asked, verdict
from policies.semantic.lookup import Lookup
from policies.semantic.rules import SemanticRules
from proxy.caching.kept import Kept, kept_of
from proxy.caching.library import Library, Stored
from proxy.caching.semantic_parts import Around, Kit
from proxy.caching.standings import Standings
from proxy.errors import ProxyError
from proxy.execution.flight import Answered, Replied
from proxy.execution.record import Record
from proxy.reuse import Reuse
from proxy.types import Call

JUDGE_S: Final = 30.0
ALL: Final = Reuse()


class Lesson(Struct, frozen=True):
    """One answer, and the entry that was near its question. `model`: whose answer it is."""

    call: Call
    lookup: Lookup
    fresh: Stored
    model: str
    around: Around
    entry: Stored | None


class Lessons:
    def __init__(self, kit: Kit, library: Library, standings: Standings) -> None:
        self._kit = kit
        self._library = library
        self._standings = standings

    def __repr__(self) -> str:
        return f"Lessons({self._library!r})"

    def learn(self, record: Record, around: Around, *, answer: tuple[Answered, Replied], body: bytes) -> None:
        lookup, call, now = record.lookup, record.call, self._kit.clock.now()
        said = self._said(call, answer[1], body)
        if lookup is None or said is None:
            return
        why = _why_not_stored(record, answer[0], said)
        if why is not None:
            record.decided(now, f"not kept in the semantic cache: {why}")
            return
        kept = self._kept(record, answer, body=body, rules=around.rules)
        fresh = Stored(call.id, lookup.question.features, said.text, kept)
        entry = self._library.find(lookup.entry)
        lesson = Lesson(call, lookup, fresh, said.model, around, entry)
        alike = False if entry is None else same(said.text, entry.answer)
        if entry is None:
            self._put_unless_known(lesson)
        elif alike is not None:
            self._label(lesson, entry, alike)
        elif around.rules.judge is not None and self._may_judge(lesson):
            self._kit.tasks.start("semantic judge", self._judged(lesson, entry))

    def tell(self, route: str, owner: bytes) -> None:
        """How well it does, and whether it does anything at all."""
        quality = self._standings.of(owner).quality
        self._kit.watch.stands(route, owner, quality.false_hit_ratio, off=quality.off)

    def _label(self, lesson: Lesson, entry: Stored, alike: bool) -> None:
        lookup, rules = lesson.lookup, lesson.around.rules
        standing = self._standings.of(lookup.route)
        entry.labels.learn(lookup.similarity, same=alike, asker=lookup.asker, route=standing.curve)
        standing.quality.labelled(lookup.chance, same=alike, stated=rules.error_max)
        self._kit.watch.labelled(lesson.call.route, same=alike)
        self.tell(lesson.call.route, lookup.route)
        if not alike:
            if lookup.chance > 0:
                entry.labels.quarantined = True  # it could have been a false hit
            self._put(lesson)

    def _put_unless_known(self, lesson: Lesson) -> None:
        """None was nominated, and yet one that says the same may be near: two of them would hide what else is."""
        question, fresh = lesson.lookup.question, lesson.fresh
        near = self._library.near(question.scope, lesson.lookup.vector, self._kit.clock.wall())
        for similarity, known in near:
            if similarity >= LOWEST and known.answers_as(fresh) and differ(question.features, known.features) is None:
                return
        self._put(lesson)

    def _put(self, lesson: Lesson) -> None:
        lookup = lesson.lookup
        self._library.put(lookup.question.scope, lookup.vector, entry=lesson.fresh, model=lesson.model)

    def _may_judge(self, lesson: Lesson) -> bool:
        judging = self._standings.of(lesson.lookup.route).judging
        return judging.has_some(lesson.around.rules.judge_usd_nanos, self._kit.clock.now())

    async def _judged(self, lesson: Lesson, entry: Stored) -> None:
        call, around, kit = lesson.call, lesson.around, self._kit
        assert around.rules.judge is not None  # else nobody judges
        body = asked(around.rules.judge, lesson.lookup.question.text, entry.answer, lesson.fresh.answer)
        later = structs.replace(call, deadline=kit.clock.now() + JUDGE_S)  # the call itself is over
        reply = await around.side.ask(later, "chat", body, snapshot=around.snapshot, seconds=JUDGE_S)
        if isinstance(reply, ProxyError):
            return
        cost = reply.cost_usd_nanos or 0
        self._standings.of(lesson.lookup.route).judging.spend(cost)
        kit.watch.spent("judge", cost)
        said = answer_of(reply.body)
        alike = None if said is None else verdict(said.text)
        if alike is not None:
            self._label(lesson, entry, alike)

    def _said(self, call: Call, reply: Replied, body: bytes) -> Answer | None:
        if not reply.content_type.startswith("text/event-stream"):
            return answer_of(body)
        try:
            folded = self._kit.dialect.reply_of(call, body)
        except ProxyError:
            return None
        return answer_of(folded.body)

    def _kept(self, record: Record, answer: tuple[Answered, Replied], *, body: bytes, rules: SemanticRules) -> Kept:
        exchange, reply = answer
        wall, says = self._kit.clock.wall(), record.call.reuse or ALL
        ttl_s = rules.life_s if says.ttl_s is None else says.ttl_s
        kept = kept_of(record.call, body, reply.content_type, target=exchange.target.id, wall=wall, ttl_s=ttl_s)
        usages = [attempt.usage for attempt in record.attempts if attempt.usage is not None]
        known = [cost for attempt in record.attempts if (cost := attempt.cost_usd_nanos) is not None]
        return structs.replace(
            kept,
            tokens=sum(usage.input_total + usage.output_total for usage in usages),
            cost_usd_nanos=sum(known) if len(known) == len(record.attempts) else None,
        )


def _why_not_stored(record: Record, exchange: Answered, said: Answer) -> str | None:
    plan = record.plan
    elsewhere = plan is not None and all(target.id != exchange.target.id for target in plan.steps[0])
    shortened = exchange.clamped_to is not None
    return why_not_stored(record.call, plan, said, shortened=shortened, elsewhere=elsewhere)
