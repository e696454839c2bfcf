"""The real gate as a side of the tail's world: pipeline, race, policies, settlement; only bytes and clock are made up.

No limits in money stand over the calls, and the ledger is a list of outcomes. Every target of the world is a provider
of its own with one price, and each group of requests a model. Nothing is tuned for any of the worlds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from multidict import CIMultiDict

from loadtests.tail.scenarios import Scenario
from loadtests.tail.upstreams import Answer, Failed, Request, Upstreams
from policies.concurrency import Mode
from policies.hedge import HedgeRules
from policies.limits import LimitsByName
from policies.plan import Planner, Route, Routes
from policies.provider_limits import TargetRules
from policies.retry import AttemptBudget, Retry
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.admission import Admission
from proxy.execution.bench import Bench
from proxy.execution.probing import Probing
from proxy.execution.race import Race
from proxy.execution.steering import Steering
from proxy.finish import Finish
from proxy.parts import Parts
from proxy.pipeline import Pipeline
from proxy.providers.base import UpstreamRequest, unnoticed
from proxy.providers.openai_compatible import Account
from proxy.runs.registry import Runs
from proxy.snapshot import AgentRules, Snapshot
from proxy.tasks import Tasks
from proxy.types import Call, Identity, KeyRecord, Outcome, Target, Traits
from tests.build import PRICE
from tests.flow.world import DONE, FINISH, ROLE, token
from tests.known import caches
from tests.money import WatchedBudgets
from tests.rates import permits, rate_limits
from tests.sim.client import Wire
from tests.sim.vendor import CALL_HEADER, Tagged
from tests.sim.virtual import SeededClock

FIRST = ROLE + token("word")
EVENTS = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}


class Reply:
    """A stream whose first content is there; `read` waits for the rest."""

    def __init__(self, status: int, headers: Mapping[str, str], pieces: list[bytes], answer: Answer | None) -> None:
        self.status = status
        self.headers = CIMultiDict(headers)
        self.unread = 0
        self._pieces = pieces
        self._answer = answer

    async def read(self) -> bytes:
        if len(self._pieces) == 1 and self._answer is not None:
            await self._answer.rest()
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        self._pieces.clear()
        if self._answer is not None:
            self._answer.close()


class Door:
    """The transport of one target."""

    def __init__(self, upstreams: Upstreams, target: int, requests: Sequence[Request]) -> None:
        self._upstreams = upstreams
        self._target = target
        self._requests = requests

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> Reply:
        sent()
        if request.method == "GET":
            return await self._probed()
        asked = self._requests[int(request.headers[CALL_HEADER], 16)]
        try:
            answer = await self._upstreams.send(self._target, asked)
        except Failed as failed:
            return Reply(failed.status, JSON, [b'{"error":{"message":"no","type":"server_error"}}'], None)
        return Reply(200, EVENTS, [FIRST, FINISH + _usage(asked, answer) + DONE], answer)

    async def _probed(self) -> Reply:
        try:
            await self._upstreams.probe(self._target)
        except Failed as failed:
            return Reply(failed.status, JSON, [b"{}"], None)
        return Reply(200, JSON, [b"{}"], None)

    async def close(self) -> None:
        """Holds nothing."""


def _usage(asked: Request, answer: Answer) -> bytes:
    told = b'{"prompt_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}'
    return b'data: {"id":"c1","choices":[],"usage":' + told % (asked.tokens, asked.output, answer.cached) + b"}\n\n"


class Client(Wire):
    """Notes when the first content came."""

    def __init__(self) -> None:
        super().__init__()
        self.first_at: float | None = None

    async def write(self, data: bytes) -> None:
        if self.first_at is None:
            self.first_at = asyncio.get_running_loop().time()
        await super().write(data)


class Nobody:
    def identify(self, presented: str) -> KeyRecord | None:
        return None

    def of(self, id: str) -> KeyRecord | None:
        return None


class GateSide:
    name = "headgate"

    def __init__(self, scenario: Scenario, upstreams: Upstreams, seed: int) -> None:
        self.outcomes: list[Outcome] = []
        self.defects: list[BaseException] = []
        self._scenario = scenario
        self.clock = SeededClock(seed)
        self.dialect = OpenAI()
        self.tasks = Tasks(lambda name, error: self.defects.append(error))
        share = scenario.hedge_share
        rules = HedgeRules() if share is None else HedgeRules(budget=share, budget_bimodal=share)
        self.steering = Steering(self.clock, rules)
        self._names = [f"up{number}" for number in range(upstreams.count)]
        self.pipeline = self._new_pipeline()
        models = sorted({request.model for request in scenario.requests})
        self._heads = {model: self._read(model) for model in models}
        self.snapshot = self._new_snapshot(upstreams, models)
        probing = Probing(self.steering.breakers, self.clock, self.tasks, lambda: self.snapshot.providers)
        self._probes = self.tasks.start("probes", probing.keep())

    def observe(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    async def ask(self, request: Request) -> float:
        loop = asyncio.get_running_loop()
        began, client = loop.time(), Client()
        call = self._call(request, began)
        await self.pipeline.serve(call, client, self.snapshot)
        if client.ended != "end" or client.first_at is None:
            raise Failed(client.status or 0)
        return client.first_at - began

    async def close(self) -> None:
        """Checks what must hold after every run."""
        self._probes.cancel()
        await self.tasks.close(grace_s=600.0)
        assert self.defects == [], self.defects[:3]
        assert self.pipeline.in_flight == 0
        assert len(self.outcomes) == len(self._scenario.requests) == self.pipeline.begun

    def _read(self, model: str) -> tuple[bytes, object]:
        raw = b'{"model":"%b","messages":[],"stream":true}' % model.encode()
        return raw, self.dialect.read("chat", raw, "application/json")

    def _call(self, request: Request, now: float) -> Call:
        raw, head = self._heads[request.model]
        return Call(
            id=f"{request.number:032x}",
            endpoint="chat",
            dialect="openai",
            route=request.model,
            head=head,  # type: ignore[arg-type]
            raw=raw,
            identity=Identity(key_id="key", agent="agent"),
            arrived_at=now,
            arrived_wall=self.clock.wall(),
            deadline=now + self._scenario.patience_s,
            input_tokens_estimate=request.tokens,
            trace_id=f"{request.number:032x}",
        )

    def _new_pipeline(self) -> Pipeline:
        clock = self.clock
        bench = Bench(clock, _count_text, _ignore, _ignore, self.steering)
        learning: Mode = "measured" if self._scenario.own else "refusals"  # what each is without configuration
        places = permits(clock, TargetRules(adaptive=dict.fromkeys(self._names, learning)))
        admission = Admission(places, clock)
        return Pipeline(
            Parts(
                clock=clock,
                dialect=self.dialect,
                race=Race(bench, AttemptBudget(), places, self.tasks),
                store=WatchedBudgets(clock, LimitsByName({})),
                rates=rate_limits(clock),
                admission=admission,
                runs=Runs(clock),
                caches=caches(clock),
                finish=Finish(
                    clock, {"list": self, "admission": admission}, lambda name, error: self.defects.append(error)
                ),
                tasks=self.tasks,
                ledger_accepting=lambda: True,
                started=lambda route: None,
                on_defect=self.defects.append,
            )
        )

    def _new_snapshot(self, upstreams: Upstreams, models: Sequence[str]) -> Snapshot:
        names, engine = self._names, "vllm" if self._scenario.own else "openai"
        account = Account(engine=engine, base_url="http://world.invalid/v1", api_key="sk-of-the-world")
        doors = [Door(upstreams, number, self._scenario.requests) for number in range(upstreams.count)]
        providers = {
            name: Tagged(name, account, dialect=self.dialect, transport=door, clock=self.clock)
            for name, door in zip(names, doors, strict=True)
        }
        routes = [Route(model, tuple(_target(name, model) for name in names)) for model in models]
        rules = AgentRules(
            deadline_s=self._scenario.patience_s,
            first_token_timeout_s=self._scenario.timeout_s,
            idle_timeout_s=600.0,
            retry=Retry(),
        )
        return Snapshot(
            version="v1",
            planner=Planner(Routes(tuple(routes))),
            providers=providers,
            keyring=Nobody(),
            agents={},
            default_rules=rules,
        )


def _target(provider: str, model: str) -> Target:
    traits = Traits(abort="stops")
    return Target(
        id=f"{provider}/{model}", provider=provider, model=model, price=PRICE, traits=traits, failure_domain=provider
    )


def _ignore(target: Target) -> None:
    return


async def _count_text(text: str, vocabulary: str) -> int:
    return len(text.split())
