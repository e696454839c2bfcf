"""An upstream inside the process: it speaks OpenAI's dialect, takes its time, fails as real ones do, keeps a true bill.

Nothing touches a socket; every wait is a timer of the loop, so the same seed and the same order of calls give the same
run, in virtual time at once. What an answer says depends on the request alone; when it comes, and whether a fault
befalls it, on the number of the call. An answer that is closed costs the tokens that were due until then, read or not:
an engine that stops generating when its client leaves. Waits are log-normal, as latencies of real engines mostly are.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from proxy.clock import Clock
from proxy.providers import simulated_wire as wire
from proxy.providers.base import UpstreamRequest, unnoticed
from proxy.providers.engines import PATHS
from proxy.providers.fields import Fields
from proxy.providers.simulated_answer import Answer, Draw, by_tool, in_json, in_words
from proxy.providers.simulated_reply import Bill, Books, SimulatedResponse, Step, Total
from proxy.providers.simulated_stream import stream_of
from proxy.providers.simulated_wire import Naming, Question
from proxy.types import Endpoint, Price

EVENTS: Mapping[str, str] = {"content-type": "text/event-stream"}
EMPTY: Mapping[str, str] = {}
BLOCK_BYTES = 256  # of prompt text to a block of the prefix cache: 64 tokens
SIMULATED_PRICES: Mapping[str, Price] = {
    name: Price(
        id=f"simulated:{name}",
        input_uncached=rate,
        output=4 * rate,
        input_cached=rate // 2,
        input_cache_write_5m=rate,
        input_cache_write_1h=rate,
        input_audio=rate,
        input_image=rate,
        reasoning=4 * rate,
        output_audio=4 * rate,
    )
    for name, rate in (("sim-small", 150_000), ("sim-large", 2_500_000))
}
ENDPOINTS: Mapping[str, Endpoint] = {
    PATHS[endpoint]: endpoint for endpoint in ("chat", "completions", "embeddings", "responses")
}
_TEXTS = Decoder(list[Raw])


class Spread(Struct, frozen=True):
    """A log-normal distribution."""

    median: float
    sigma: float = 0.5


class Simulation(Struct, frozen=True):
    """How a simulated upstream behaves; shares are of its calls."""

    seed: int = 1
    first_token_s: Spread = Spread(0.25)
    token_s: Spread = Spread(0.02, 0.3)
    output_tokens: Spread = Spread(120, 0.6)
    stall_share: float = 0.0
    stall_s: float = 10.0
    errors: tuple[tuple[int, float], ...] = ()  # status, share
    retry_after_s: float = 1.0
    cut_share: float = 0.0
    tool_share: float = 0.7  # of the calls that offer tools: those that use one
    cache_blocks: int = 16_384
    models: tuple[str, ...] = tuple(SIMULATED_PRICES)


class SimulatedTransport:
    """One simulated vendor with its cache and its books."""

    def __init__(self, simulation: Simulation, clock: Clock) -> None:
        self._simulation = simulation
        self._clock = clock
        self._calls = 0
        self._born = f"{clock.rng('simulated').getrandbits(32):08x}"  # no two starts name a request alike
        self._blocks: dict[bytes, None] = {}  # of prompts seen before, oldest first
        self._books = Books(clock)

    def __repr__(self) -> str:
        return f"SimulatedTransport({self._calls} calls, {len(self._blocks)} blocks cached)"

    def bill(self) -> tuple[Bill, ...]:
        """The last answers that cost something, in the order they ended."""
        return tuple(self._books.bills)

    def totals(self) -> dict[str, Total]:
        """All answers that cost something, by model."""
        return self._books.totals()

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> SimulatedResponse:
        sent()
        self._calls += 1
        draw = Draw(b"%d:call:%d" % (self._simulation.seed, self._calls))
        path = urlsplit(request.url).path.rpartition("/v1")[2]
        if path == "/models":
            return self._at_once(200, wire.models(self._simulation.models))
        status = self._failing(draw.share())
        if status is not None:
            return await self._refuse(status, draw)
        endpoint = ENDPOINTS.get(path)
        asked = wire.question(request.body)
        if endpoint is None or asked is None:
            wrong = (404, "There is no such path") if endpoint is None else (400, "The body is no valid request")
            return self._at_once(wrong[0], wire.error(*wrong))
        generated = endpoint != "embeddings"
        response = self._generate(endpoint, asked, draw) if generated else self._embed(asked, draw)
        if not (generated and asked.stream):
            await response.ready()
        return response

    async def close(self) -> None:
        """Holds nothing that would have to be given back."""

    def _failing(self, share: float) -> int | None:
        for status, part in self._simulation.errors:
            if share < part:
                return status
            share -= part
        return None

    async def _refuse(self, status: int, draw: Draw) -> SimulatedResponse:
        hint = {"retry-after": f"{self._simulation.retry_after_s:g}"} if status in (429, 503) else {}
        body = wire.error(status, "The simulated upstream is overloaded or out of order")
        response = self._at_once(status, body, hint)
        await asyncio.sleep(draw.log_normal(self._simulation.first_token_s.median, 0.5) / 10)
        return response

    def _at_once(self, status: int, body: bytes, more: Mapping[str, str] = EMPTY) -> SimulatedResponse:
        steps = [Step(self._clock.now(), body)]
        return self._headed(SimulatedResponse(self._books, status, steps=steps, bill=None), more)

    def _headed(self, response: SimulatedResponse, more: Mapping[str, str] = EMPTY) -> SimulatedResponse:
        head = {"content-type": "application/json", "x-request-id": f"req_sim{self._born}_{self._calls}", **more}
        response.headers = Fields(head)
        return response

    def _embed(self, asked: Question, draw: Draw) -> SimulatedResponse:
        text = asked.text()
        bill = Bill(asked.model, "embeddings", wire.tokens_of(text), 0, 0)
        vectors = Draw(b"%d:embed:%b" % (self._simulation.seed, asked.model.encode() + text))
        due = self._clock.now() + draw.log_normal(self._simulation.first_token_s.median, 0.5) / 5
        body = wire.embeddings(asked, _texts_in(asked.input), draw=vectors, bill=bill)
        return self._headed(SimulatedResponse(self._books, 200, steps=[Step(due, body)], bill=bill))

    def _generate(self, endpoint: Endpoint, asked: Question, draw: Draw) -> SimulatedResponse:
        text = asked.text()
        say = Draw(b"%d:say:%b" % (self._simulation.seed, asked.model.encode() + text))
        answers = [self._answer(asked, say) for _ in range(asked.choices)]
        prompt_tokens = wire.tokens_of(text)
        cached_tokens = min(self._remember(asked.model.encode(), text), prompt_tokens - 1)
        tokens = sum(len(answer.pieces) for answer in answers)
        bill = Bill(asked.model, endpoint, prompt_tokens, cached_tokens, tokens)
        naming = Naming(f"sim{self._simulation.seed}x{self._calls}", int(self._clock.wall()), asked.model)
        times = self._times(draw, max(len(answer.pieces) for answer in answers), cached_tokens / prompt_tokens)
        if not asked.stream:
            steps = [Step(at, b"", _made(answers, number)) for number, at in enumerate(times, 1)]
            steps.append(Step(times[-1], wire.whole(naming, answers, bill), tokens))
            return self._headed(SimulatedResponse(self._books, 200, steps=steps, bill=bill))
        stream = stream_of(naming, asked, endpoint)
        steps = [Step(at, stream.turn(answers, number), _made(answers, number + 1)) for number, at in enumerate(times)]
        steps.append(Step(times[-1], stream.ending(answers, bill), tokens))
        cut = draw.share() < self._simulation.cut_share
        if cut:
            del steps[1 + draw.below(len(steps) - 1) :]
        return self._headed(SimulatedResponse(self._books, 200, steps=steps, bill=bill, cut=cut), EVENTS)

    def _answer(self, asked: Question, say: Draw) -> Answer:
        offered = [] if asked.after_tool() else asked.functions()
        if offered and (asked.must_use_tool or say.share() < self._simulation.tool_share):
            return by_tool(say, offered[say.below(len(offered))], tokens_max=asked.tokens_max)
        if asked.response_format is not None and asked.response_format.type != "text":
            return in_json(say, asked.response_format.json_schema.get("schema"), tokens_max=asked.tokens_max)
        length = self._simulation.output_tokens
        return in_words(say, max(1, round(say.log_normal(length.median, length.sigma))), tokens_max=asked.tokens_max)

    def _times(self, draw: Draw, count: int, cached: float) -> list[float]:
        """When each token is due. A prompt that is in the cache is read five times as fast."""
        simulation = self._simulation
        first, gap = simulation.first_token_s, simulation.token_s
        at = self._clock.now() + draw.log_normal(first.median, first.sigma) * (1 - 0.8 * cached)
        stalls_after = draw.below(count) if draw.share() < simulation.stall_share else -1
        times = []
        for number in range(count):
            times.append(at)
            at += draw.log_normal(gap.median, gap.sigma) + (simulation.stall_s if number == stalls_after else 0)
        return times

    def _remember(self, model: bytes, text: bytes) -> int:
        """Tokens of the prompt's longest beginning that was seen before; from now on all of it was."""
        key, hits, seen = model, 0, True
        for start in range(0, len(text) - BLOCK_BYTES + 1, BLOCK_BYTES):
            key = hashlib.blake2b(text[start : start + BLOCK_BYTES], key=key[:64], digest_size=16).digest()
            seen = seen and key in self._blocks
            hits += seen
            self._blocks.pop(key, None)
            self._blocks[key] = None
        while len(self._blocks) > self._simulation.cache_blocks:
            del self._blocks[next(iter(self._blocks))]
        return hits * BLOCK_BYTES // wire.BYTES_PER_TOKEN


def _made(answers: list[Answer], turns: int) -> int:
    return sum(min(turns, len(answer.pieces)) for answer in answers)


def _texts_in(given: Raw) -> int:
    """A text, a list of texts, a list of tokens, or a list of those."""
    try:
        texts = _TEXTS.decode(given)
    except DecodeError:
        return 1
    return len(texts) if texts and bytes(texts[0])[:1] in (b'"', b"[") else 1
