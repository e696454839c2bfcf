"""The semantic cache over sockets: an answer to a question that means the same, or no answer from there at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from policies.cache_rules import CacheRules
from policies.limits import Limit, LimitsByName
from policies.retry import Retry
from policies.semantic.rules import SemanticRules
from proxy.snapshot import AgentRules
from proxy.types import KeyRecord
from tests.flow.world import DONE, FINISH, KEY, ROLE, USAGE, Peer, Response, World, token

pytest.importorskip("numpy", reason="the extra headgate[semantic] is not installed")

SEMANTIC = SemanticRules(model="embed", error_max=0.2)
RULES = AgentRules(cache=CacheRules(semantic=SEMANTIC), retry=Retry(attempts=1))
PATH = "/agents/a/runs/{}/v1/chat/completions"
CAPITAL = "what is the capital town of france"
REWORDED = "what is the capital town of france please"
WRONG = "what is the largest town of france please"
ASIDE = [2.3, 1.35, 2.0]  # at a cosine of 0.9 to the vector of all others


class Vendor:
    """Embeds every question alike but for those that are listed, and answers as it is told."""

    def __init__(self, answer: str = "Paris") -> None:
        self.answers: dict[str, str] = {}
        self.answer = answer
        self.verdict = "SAME"
        self.chats = self.embeddings = self.judged = 0
        self.embedding_s = 0.0
        self.vector: list[float] = [1.0, 2.0, 2.0]
        self.vectors: dict[str, list[float]] = {}

    async def __call__(self, peer: Peer) -> None:
        if b"/embeddings" in peer.head.partition(b"\r\n")[0]:
            await self._embed(peer)
        elif b"You compare two answers" in peer.body:
            self.judged += 1
            await peer.reply(reply(self.verdict))
        else:
            await self._chat(peer)

    async def _embed(self, peer: Peer) -> None:
        self.embeddings += 1
        await asyncio.sleep(self.embedding_s)
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        vector = self.vectors.get(str(peer.json["input"]), self.vector)
        data = [{"object": "embedding", "index": 0, "embedding": vector}]
        await peer.reply(msgspec.json.encode({"object": "list", "model": "e", "data": data, "usage": usage}))

    async def _chat(self, peer: Peer) -> None:
        self.chats += 1
        messages = peer.json["messages"]
        assert isinstance(messages, list)
        text = self.answers.get(messages[-1]["content"], self.answer)
        if peer.json.get("stream") is not True:
            await peer.reply(reply(text))
            return
        await peer.stream_head()
        for event in (ROLE, token(text), FINISH, USAGE, DONE):
            await peer.chunk(event)
        await peer.end()


def reply(text: str, finish: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    made = {"id": "c1", "object": "chat.completion", "model": "real-2026", "choices": [choice], "usage": usage}
    return msgspec.json.encode(made)


def question(text: str, **fields: object) -> bytes:
    return msgspec.json.encode(
        {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": text}], **fields}
    )


def runs() -> Iterator[str]:
    return (f"r{number}" for number in range(10_000))


class Client:
    """Each of its requests is of a run of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._runs = runs()

    async def ask(self, body: bytes, headers: str = "", key: str = KEY) -> Response:
        return await self._world.request(body, path=PATH.format(next(self._runs)), headers=headers, key=key)

    async def until_hit(self, body: bytes, most: int = 200) -> Response:
        for _ in range(most):
            answer = await self.ask(body)
            if cache(answer) == "semantic":
                return answer
        raise AssertionError("it was never answered from the semantic cache")


def cache(answer: Response) -> str:
    return answer.headers["x-headgate-cache"]


def world(vendor: Vendor, rules: AgentRules = RULES, **more: object) -> World:
    return World(vendor, rules=rules, also=("embed", "judge"), **more)  # type: ignore[arg-type]  # by name


async def test_a_question_that_means_the_same_is_answered_once_others_have_confirmed_it() -> None:
    vendor = Vendor()
    async with world(vendor) as gate:
        client = Client(gate)
        await client.ask(question(CAPITAL))
        for _ in range(3):
            assert cache(await client.ask(question(REWORDED))) == "miss", "nobody had confirmed it three times"
        hit = await client.until_hit(question(REWORDED))
        chats = vendor.chats
        assert b"Paris" in hit.body
        assert hit.headers["x-headgate-served-by"] == "cache"
        assert hit.headers["x-headgate-cache-entry"]
        assert hit.headers["x-headgate-cache-similarity"] == "1.0000"
        assert 0 < float(hit.headers["x-headgate-cache-bound"]) < 1
        assert int(hit.headers["x-headgate-cache-age"]) >= 0
        outcome = gate.outcomes[-1]
        assert outcome.reused is not None
        assert outcome.reused.cache == "semantic"
        assert outcome.attempts == ()
        assert chats == vendor.chats
        assert len(gate.semantic.library) == 1, "the same answer is a label, not an entry"


async def test_an_embedding_is_a_call_of_its_own_billed_to_the_run() -> None:
    async with world(Vendor()) as gate:
        await Client(gate).ask(question(CAPITAL))
        embedding, chat = gate.outcomes
        assert (embedding.call.endpoint, chat.call.endpoint) == ("embeddings", "chat")
        assert embedding.call.identity.run == chat.call.identity.run == "r0"
        assert embedding.call.cause == chat.call.id
        assert embedding.cost_usd_nanos
        assert gate.counted.spend == {"embedding": embedding.cost_usd_nanos}


@pytest.mark.parametrize("word", ["no-semantic", "no-cache"])
async def test_a_caller_can_refuse_it(word: str) -> None:
    vendor = Vendor()
    async with world(vendor) as gate:
        client = Client(gate)
        await client.ask(question(CAPITAL))
        await client.until_hit(question(REWORDED))
        chats, embeddings = vendor.chats, vendor.embeddings
        for _ in range(20):
            answer = await client.ask(question(REWORDED), headers=f"X-Headgate-Cache: {word}\r\n")
            assert cache(answer) == "off"
        assert (vendor.chats, vendor.embeddings) == (chats + 20, embeddings)


async def test_an_embedding_that_is_late_is_a_miss() -> None:
    vendor = Vendor()
    vendor.embedding_s = 5.0
    async with world(vendor) as gate:
        began = asyncio.get_running_loop().time()
        answer = await Client(gate).ask(question(CAPITAL))
        took_s = asyncio.get_running_loop().time() - began
        assert (answer.status, vendor.chats) == (200, 1)
        assert 0.2 <= took_s < 0.3
        assert cache(answer) == "miss"
        assert float(answer.headers["x-headgate-overhead-ms"]) < 50, "the embedder was waited for, not the gate"
        assert len(gate.semantic.library) == 0


@pytest.mark.parametrize("vector", [[], [0.0, 0.0, 0.0]])
async def test_an_embedding_that_is_no_vector_is_a_miss(vector: list[float]) -> None:
    vendor = Vendor()
    vendor.vector = vector
    async with world(vendor) as gate:
        assert (await Client(gate).ask(question(CAPITAL))).status == 200
        assert len(gate.semantic.library) == 0


async def test_an_answer_that_would_have_been_false_never_serves_again() -> None:
    vendor = Vendor()
    vendor.answers[WRONG], vendor.vectors[WRONG] = "Lyon", ASIDE
    async with world(vendor) as gate:
        client = Client(gate)
        await client.ask(question(CAPITAL))
        await client.until_hit(question(REWORDED))
        while gate.counted.labels[-1]:  # ends: one in twenty is asked all the same
            await client.ask(question(WRONG))
        assert gate.counted.labels.count(False) == 1
        for _ in range(30):
            assert cache(await client.ask(question(REWORDED))) != "semantic"


async def test_a_hit_that_somebody_calls_false_quarantines_its_entry() -> None:
    async with world(Vendor()) as gate:
        client = Client(gate)
        await client.ask(question(CAPITAL))
        hit = await client.until_hit(question(REWORDED))
        assert not gate.semantic.feedback("nobody", right=False)
        assert gate.semantic.feedback(hit.headers["x-headgate-request-id"], right=False)
        assert not gate.semantic.feedback(hit.headers["x-headgate-request-id"], right=False), "once"
        for _ in range(30):
            assert cache(await client.ask(question(REWORDED))) != "semantic"


async def test_one_run_alone_proves_nothing() -> None:
    async with world(Vendor()) as gate:
        for text in [CAPITAL] + [REWORDED] * 40:
            answer = await gate.request(question(text), path=PATH.format("alone"))
            assert cache(answer) != "semantic"


@pytest.mark.parametrize(
    "other",
    [
        question(REWORDED, temperature=1),
        question(REWORDED, seed=1),
        question(REWORDED, n=2),
        question(REWORDED, max_tokens=9),
        question(REWORDED, tools=[{"type": "function", "function": {"name": "f"}}]),
        question(REWORDED.replace("france", "spain 2")),
        question("not " + REWORDED),
        question(REWORDED, messages=[{"role": "system", "content": "s"}, {"role": "user", "content": REWORDED}]),
        question(REWORDED, messages=[{"role": "user", "content": REWORDED}, {"role": "tool", "content": "x"}]),
        question(REWORDED, stream=True),
    ],
)
async def test_what_is_not_the_same_question_is_asked(other: bytes) -> None:
    async with world(Vendor()) as gate:
        client = Client(gate)
        await client.ask(question(CAPITAL))
        await client.until_hit(question(REWORDED))
        for _ in range(3):  # too few for an entry of its own to be served
            assert cache(await client.ask(other)) != "semantic"


async def test_no_other_tenant_or_agent_is_given_it() -> None:
    async with world(Vendor()) as gate:
        gate.keys.records["hg-another-key"] = KeyRecord("key-2")
        client = Client(gate)
        await client.ask(question(CAPITAL))
        await client.until_hit(question(REWORDED))
        vendor_asked = len(gate.upstreams[0].requests)
        first = await client.ask(question(REWORDED), key="hg-another-key")
        other = await gate.request(question(REWORDED), path="/agents/b/runs/x/v1/chat/completions")
        assert cache(first) != "semantic"
        assert cache(other) != "semantic"
        assert len(gate.upstreams[0].requests) == vendor_asked + 4
        assert len(gate.semantic.library) == 3


async def test_a_stream_is_kept_and_served_as_a_stream() -> None:
    async with world(Vendor()) as gate:
        client = Client(gate)
        whole = await client.ask(question(CAPITAL, stream=True))
        hit = await client.until_hit(question(REWORDED, stream=True))
        assert hit.body == whole.body
        assert hit.headers["content-type"].startswith("text/event-stream")


async def test_what_is_truncated_or_refused_is_not_kept() -> None:
    async def short(peer: Peer) -> None:
        await (vendor(peer) if b"/embeddings" in peer.head.split(b"\r\n")[0] else peer.reply(reply("Par", "length")))

    vendor = Vendor()
    async with World(short, rules=RULES, also=("embed",)) as gate:
        for _ in range(5):
            assert cache(await Client(gate).ask(question(CAPITAL))) != "semantic"
        assert len(gate.semantic.library) == 0


LONG = "Paris is the capital of France, and it has been so for most of the last thousand years, but for a few of them."


async def test_long_answers_in_other_words_are_compared_by_the_judge_within_its_budget() -> None:
    vendor = Vendor(LONG)
    vendor.answers[REWORDED] = LONG.replace("most", "nearly all")
    judged = SemanticRules(model="embed", error_max=0.2, judge="judge", judge_usd_nanos=1)
    rules = AgentRules(cache=CacheRules(semantic=judged), retry=Retry(attempts=1))
    async with world(vendor, rules) as gate:
        client = Client(gate)
        for text in (CAPITAL, REWORDED, REWORDED, REWORDED):
            await client.ask(question(text))
            await asyncio.sleep(1)
        assert vendor.judged == 1, "the first verdict took more than a day's budget"
        assert gate.counted.labels == [True]
        assert gate.counted.spend["judge"] > 0


async def test_without_a_judge_long_answers_in_other_words_say_nothing() -> None:
    vendor = Vendor(LONG)
    vendor.answers[REWORDED] = LONG.replace("most", "nearly all")
    async with world(vendor) as gate:
        client = Client(gate)
        for text in (CAPITAL, REWORDED, REWORDED):
            await client.ask(question(text))
        assert gate.counted.labels == []
        assert len(gate.semantic.library) == 1


async def test_a_run_that_cannot_pay_for_an_embedding_misses() -> None:
    limits = LimitsByName({"agent:a": (Limit("usd", 1, "total"),)}, {})
    async with world(Vendor(), limits_of=limits) as gate:
        answer = await Client(gate).ask(question(CAPITAL))
        assert answer.status != 200
        assert len(gate.semantic.library) == 0


async def test_a_judge_that_finds_another_answer_has_it_kept_beside_the_first() -> None:
    vendor = Vendor(LONG)
    vendor.verdict = "DIFFERENT"
    vendor.answers[REWORDED] = LONG.replace("most", "none")
    judged = SemanticRules(model="embed", error_max=0.2, judge="judge")
    async with world(vendor, AgentRules(cache=CacheRules(semantic=judged), retry=Retry(attempts=1))) as gate:
        client = Client(gate)
        for text in (CAPITAL, REWORDED):
            await client.ask(question(text))
            await asyncio.sleep(1)
        assert gate.counted.labels == [False]
        assert len(gate.semantic.library) == 2
        verdict = gate.outcomes[-1]
        assert (verdict.call.route, verdict.call.identity.run) == ("judge", "r1")


async def test_more_false_hits_than_its_bound_allows_switch_it_off_until_all_is_purged() -> None:
    rules = AgentRules(cache=CacheRules(semantic=SemanticRules(model="embed", error_max=0.05)), retry=Retry(attempts=1))
    vendor = Vendor()
    async with world(vendor, rules) as gate:
        client = Client(gate)
        await client.ask(question(CAPITAL))
        answers = [await client.ask(question(REWORDED)) for _ in range(80)]
        hits = [answer.headers["x-headgate-request-id"] for answer in answers if cache(answer) == "semantic"]
        assert len(hits) > 10
        for reported, id in enumerate(hits):
            assert gate.counted.off == (reported > 0.05 * 81)
            gate.semantic.feedback(id, right=False)
        asked = vendor.embeddings
        assert cache(await client.ask(question(REWORDED))) == "off"
        assert vendor.embeddings == asked
        gate.semantic.purge(None, None)
        assert cache(await client.ask(question(REWORDED))) == "miss"


async def test_a_purge_takes_the_entries_that_it_means() -> None:
    async with world(Vendor()) as gate:
        client = Client(gate)
        await client.ask(question(CAPITAL))
        assert gate.semantic.purge("b", None) == 0
        assert gate.semantic.purge("a", "m") == 1
        assert len(gate.semantic.library) == 0


@pytest.mark.parametrize("limit", [Limit("steps", 1, "run"), Limit("requests", 1), Limit("concurrency", 1)])
async def test_an_embedding_is_none_of_the_calls_that_a_limit_counts(limit: Limit) -> None:
    async with world(Vendor(), limits_of=LimitsByName({"agent:a": (limit,)}, {})) as gate:
        client = Client(gate)
        assert (await client.ask(question(CAPITAL))).status == 200
        again = await gate.request(question(CAPITAL), path=PATH.format("r0"))
        assert again.status == (200 if limit.unit == "concurrency" else 402), "the call itself was counted"
