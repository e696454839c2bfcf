"""The prompt caches of providers, as attempts meet them: what broke a prefix, who goes first, what is asked.

One a process. It asks the policies once a call and once an attempt, writes what they said into the call's decisions,
and holds back those calls whose new prefix another is writing: until that one's first event, and never for long.
Prompts below 1,024 tokens, which no provider caches, pass it by.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from msgspec import structs

from policies import prefix_break, siblings
from policies.prefix_break import Prefixes, Seen
from policies.prompt_cache import Asked, PromptCaches
from policies.siblings import Boundaries, Lead, Siblings
from proxy.clock import Clock
from proxy.execution.record import Record
from proxy.providers.base import Provider
from proxy.tenancy import run_of, tenant
from proxy.types import Call, Target

TOKENS_LEAST: Final = 1_024
DEADLINE_SHARE: Final = 0.1  # of the time that a call has left, at most spent waiting for another

Sold = tuple[tuple[Provider, Target], ...]  # where the call may go


class PromptCaching:
    def __init__(self, clock: Clock) -> None:
        self.prefixes = Prefixes()
        self.caches = PromptCaches()
        self.siblings = Siblings()
        self._clock = clock
        self._news: dict[Lead, asyncio.Future[None]] = {}  # of those that are waited for

    def __repr__(self) -> str:
        return f"PromptCaching({self.prefixes}, {self.caches}, {self.siblings}, {len(self._news)} waited for)"

    def look(self, record: Record, sold: Sold) -> Asked | None:
        """Once a call, before its first attempt. None: no cache has anything to do with it."""
        call = record.call
        if call.input_tokens_estimate < TOKENS_LEAST or call.endpoint not in prefix_break.MESSAGES:
            return None
        run = run_of(call.identity)
        if run is None and all(provider.prompt_cache(target.model) is None for provider, target in sold):
            return None
        prompt, now, seen = prefix_break.read(call), self._clock.now(), Seen()
        if run is not None:
            self.caches.began(run, now)
            if prompt is not None:
                seen = self.prefixes.look(run, call, prompt)
        if (broke := seen.broke) is not None:
            words = f"the run's prompt is not the one before and more: {broke.words}"
            words += f"; about {broke.lost_tokens:,} tokens from there on are read anew"
            record.decided(now, words, broke=broke.culprit)
        return Asked(call, run, prompt, seen)

    async def turn(self, record: Record, asked: Asked, sold: Sold) -> Lead | None:
        """Returns when the call may go. The lead, if there is one, ends with `written` or `failed`."""
        call = record.call
        if asked.prompt is None or not any(_writes(provider, target) for provider, target in sold):
            return None
        cuts = siblings.boundaries(asked.prompt, call.input_tokens_estimate, scope=_owner(call))
        if not cuts:
            return None
        began = self._clock.now()
        until = began + min(siblings.WAIT_S, DEADLINE_SHARE * max(0.0, call.deadline - began))
        if call.priority != "critical":
            await self._wait(cuts, until)
        waited_s = self._clock.now() - began
        if waited_s > 0:
            record.upstream_s += waited_s  # the wait is for an upstream, not the gate's overhead
            said = f"waited {waited_s:.2f} s for a call that was writing the beginning of its prompt"
            record.decided(self._clock.now(), said)
        return self.siblings.lead(cuts, self._clock.now())

    def written(self, lead: Lead | None) -> None:
        """The first event of its call has come."""
        if lead is not None:
            self.siblings.written(lead, self._clock.now())
            self._tell(lead)

    def failed(self, lead: Lead | None) -> None:
        if lead is not None:
            self.siblings.failed(lead)
            self._tell(lead)

    def hinted(self, record: Record, ask: Call, asked: Asked | None, *, provider: Provider, target: Target) -> Call:
        """The call with what its provider's cache should be told."""
        rule = None if asked is None else provider.prompt_cache(target.model)
        if asked is None or rule is None or rule.kind == "automatic":
            return ask
        now = self._clock.now()
        advice = self.caches.advise(asked, target.id, rule, now)
        record.decided(now, f"prompt cache of {target.provider}: {advice.reason}")
        return ask if advice.hints is None else structs.replace(ask, hints=advice.hints)

    async def _wait(self, cuts: Boundaries, until: float) -> None:
        while (now := self._clock.now()) < until:  # ends: at the latest then
            lead = self.siblings.enter(cuts, now)
            if lead is None:
                return
            news = self._news.setdefault(lead, asyncio.get_running_loop().create_future())
            with suppress(TimeoutError):
                async with asyncio.timeout(until - now):
                    await asyncio.shield(news)

    def _tell(self, lead: Lead) -> None:
        news = self._news.pop(lead, None)
        if news is not None and not news.done():
            news.set_result(None)


def _owner(call: Call) -> str:
    return f"{tenant(call.identity)}\0{call.route}"


def _writes(provider: Provider, target: Target) -> bool:
    return provider.prompt_cache(target.model) is not None
