"""A gate of one call's size in memory: one vendor with a fixed script, one client, everything else real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import structs

from policies.plan import Planner, Route, Routes
from policies.retry import AttemptBudget, Retry
from pricing.tokens import input_estimate
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.admission import Admission
from proxy.execution.bench import Bench, CountText
from proxy.execution.race import Race
from proxy.execution.steering import Steering
from proxy.finish import Finish
from proxy.parts import Parts
from proxy.pipeline import Pipeline
from proxy.providers.base import Transport, UpstreamRequest
from proxy.providers.openai_compatible import Account
from proxy.runs.loop_guard import LoopGuard
from proxy.runs.registry import Runs
from proxy.snapshot import AgentRules, Limits, Snapshot
from proxy.tasks import Tasks
from proxy.types import AbortRule, Call, Identity, Outcome, Target, Traits
from tests.build import PRICE
from tests.known import caches
from tests.money import WatchedBudgets
from tests.rates import permits, rate_limits
from tests.sim.client import Wire
from tests.sim.scenes import DONE, EVENTS, JSON, Asked, Generation
from tests.sim.vendor import Numbered, Script, ScriptedVendor, Step, Tagged
from tests.sim.virtual import SeededClock
from tests.sim.world import Nobody

Write = Callable[[UpstreamRequest], Script]
PLAIN = b'{"model":"m","messages":[{"role":"user","content":"a question of some length"}],"max_tokens":100}'
STREAM = PLAIN[:-1] + b',"stream":true}'
PROMPT, CACHED, OUTPUT, GAP_S = 5, 2, 4, 0.5


class FixedText:
    """`random.Random` as far as a `Generation` needs it: the first choice, the longest text."""

    def randint(self, low: int, high: int) -> int:
        return OUTPUT

    def choice(self, values: tuple[int, ...]) -> int:
        return values[0]


def answer(request: UpstreamRequest) -> Script:
    """Four tokens, half a second apart, then the figures and the end."""
    asked = Asked.of(request)
    made = Generation("gen-x", asked, FixedText())  # type: ignore[arg-type]
    made.prompt, made.cached = PROMPT, CACHED
    told = made.usage()
    if asked.stream:
        steps = [Step(0.1, made.role())]
        steps += [Step(GAP_S * (turn + 1), made.piece(turn, 0), turn + 1) for turn in range(OUTPUT)]
        at = GAP_S * (OUTPUT + 1)
        tail = made.usage_event(told) if asked.wants_usage else b""
        steps += [Step(at, made.finish(), OUTPUT), Step(at, tail + DONE, OUTPUT)]
        return Script("good", 200, EVENTS, tuple(steps), prompt=PROMPT, cached=CACHED, output=OUTPUT)
    body = made.whole(told)
    halves = (Step(1.0, body[:40], OUTPUT), Step(1.5, body[40:], OUTPUT))
    return Script("good", 200, JSON, halves, head_at=0.2, prompt=PROMPT, cached=CACHED, output=OUTPUT)


async def at_once(text: str, vocabulary: str) -> int:
    return max(1, len(text) // 4)


class SmallGate:
    def __init__(
        self,
        write: Write = answer,
        *,
        abort: AbortRule = "stops",
        bills_on: bool = False,
        stream_usage: bool = True,
        count_text: CountText = at_once,
        store: WatchedBudgets | None = None,
        rules: AgentRules | None = None,
        transport: Transport | None = None,
        twin: bool = False,
    ) -> None:
        """`twin`: the vendor has a second target that is as good, and both are known to be prompt."""
        self.clock = SeededClock(1)
        self.rates, self.permits = rate_limits(self.clock), permits(self.clock)
        self.admission = Admission(self.permits, self.clock)
        self.store = store or WatchedBudgets(self.clock)
        self.runs = Runs(self.clock)
        self.outcomes: list[Outcome] = []
        self.defects: list[BaseException] = []
        self.tasks = Tasks(lambda name, error: self.defects.append(error))
        self.vendor = ScriptedVendor("v", Numbered(), write, bills_on=bills_on)
        self.wire = Wire()
        self._dialect = OpenAI()
        self.loops = LoopGuard(self.clock, self._dialect)
        self.steering = Steering(self.clock)
        bench = Bench(self.clock, count_text, _ignore, _ignore, self.steering)
        self.pipeline = Pipeline(
            Parts(
                clock=self.clock,
                dialect=self._dialect,
                race=Race(bench, AttemptBudget(), self.permits, self.tasks),
                store=self.store,
                rates=self.rates,
                admission=self.admission,
                runs=self.runs,
                caches=caches(self.clock),
                loops=self.loops,
                finish=Finish(self.clock, {"list": self}, lambda name, error: self.defects.append(error)),
                tasks=self.tasks,
                ledger_accepting=lambda: True,
                started=lambda route: None,
                on_defect=self.defects.append,
            )
        )
        account = Account(base_url="http://vendor.invalid/v1", api_key="sk-simulated-credential")
        provider = Tagged("v", account, dialect=self._dialect, transport=transport or self.vendor, clock=self.clock)
        traits = Traits(abort=abort, stream_usage=stream_usage, vocabulary="o200k_base", continues_messages=True)
        target = Target(id="v/real", provider="v", model="real", price=PRICE, traits=traits)
        targets = (target, structs.replace(target, id="v/twin", order=1)) if twin else (target,)
        self.snapshot = Snapshot(
            version="v1",
            planner=Planner(Routes((Route("m", targets, balance="ordered"),))),
            providers={"v": provider},
            keyring=Nobody(),
            agents={},
            default_rules=rules or AgentRules(retry=Retry(attempts=2)),
            limits=Limits(drain_s=20.0, write_timeout_s=5.0),
        )

    def learn(self, first_token_s: float) -> None:
        """From many calls, as it were."""
        for number in range(100):
            for raw in (PLAIN, STREAM):
                call = self.call(raw)
                asked = structs.replace(call, head=structs.replace(call.head, stream=True))
                for target in self.snapshot.planner.routes.fixed_targets:
                    taken_s = first_token_s * (1 + number % 10 / 100)
                    self.steering.first_tokens.learn(asked, target, taken_s, self.clock.now())

    def observe(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def call(self, raw: bytes, *, allowed_s: float = 60.0) -> Call:
        now, id = self.clock.now(), self.clock.id()
        return Call(
            id=id,
            endpoint="chat",
            dialect="openai",
            route="m",
            head=self._dialect.read("chat", raw, "application/json"),
            raw=raw,
            identity=Identity(key_id="k", agent="a"),
            arrived_at=now,
            arrived_wall=self.clock.wall(),
            deadline=now + allowed_s,
            input_tokens_estimate=input_estimate(raw),
            trace_id=id,
        )

    async def serve(self, raw: bytes, *, allowed_s: float = 60.0) -> Outcome:
        await self.pipeline.serve(self.call(raw, allowed_s=allowed_s), self.wire, self.snapshot)
        await asyncio.sleep(60)
        (outcome,) = self.outcomes
        return outcome

    async def check(self) -> None:
        """After a while: one outcome, nothing held, open or running, and the accounts agree with the outcome."""
        await asyncio.sleep(60)
        assert len(self.outcomes) == self.pipeline.begun, f"{len(self.outcomes)} outcomes"
        assert self.pipeline.in_flight == 0
        assert self.defects == [], self.defects
        assert self.wire.faults == []
        assert self.store.live == 0, "money is still held"
        assert len(self.tasks) == 0
        assert len(asyncio.all_tasks()) == 1, "a task is left"
        assert all(sale.closed_at is not None for sale in self.vendor.sales), "an exchange is left open"
        (outcome,) = self.outcomes
        held = [attempt.number for attempt in outcome.attempts if attempt.held_usd_nanos]
        assert sorted(held) == [sale.number for sale in self.vendor.sales]
        account = self.store.account("key:k")
        assert account.held_usd_nanos == account.held_tokens == 0
        assert account.posted_usd_nanos == outcome.cost_usd_nanos

    def vary(self, **changes: object) -> None:
        """Other rules for the calls to come."""
        self.snapshot = structs.replace(
            self.snapshot, default_rules=structs.replace(self.snapshot.default_rules, **changes)
        )


def _ignore(target: Target) -> None:
    return
