"""The users of the load tests: what an agent fleet does to a gate, one class for each way of using it.

Streams go through requests and `raw.read1` (see `reader`), other calls through Locust's faster client. Each call fires
Locust events of its own: TTFT, ICLMAX (the longest gap), E2E, RUN; and leaves one raw sample.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

from locust import FastHttpUser, HttpUser, between, constant, events, task

from load.reader import Told, read
from load.record import Recorder, Sample

MODEL = os.environ.get("LOAD_MODEL", "chat")
KEY = os.environ.get("LOAD_KEY", "sk-load")
WORDS = ["plan", "fetch", "merge", "index", "parse", "check", "route", "write", "trace", "limit"]
RECORDER = Recorder(Path(os.environ.get("LOAD_RECORD", os.devnull)))
SEED = int(os.environ.get("LOAD_SEED", "1"))
PATH = "/v1/chat/completions"
TIMEOUT_S = 60.0
QUESTIONS = 200  # of those that are asked again and again
_numbers = iter(range(10**9))


def prompt(rng: random.Random, words: int) -> str:
    """New each time, or the cache is what is measured."""
    return f"{next(_numbers)} " + " ".join(rng.choices(WORDS, k=words))


def body(messages: list[dict[str, str]], *, stream: bool, tokens: int = 40) -> dict[str, Any]:
    return {"model": MODEL, "messages": messages, "stream": stream, "max_tokens": tokens}


def fire(kind: str, name: str, seconds: float, error: str = "") -> None:
    failed = RuntimeError(error) if error else None
    events.request.fire(
        request_type=kind, name=name, response_time=seconds * 1000, response_length=0, exception=failed, context={}
    )


class Caller:
    """What all of them share. `agent` is a part of the path, so that any client could do the same."""

    agent = "load"

    def on_start(self) -> None:
        self.rng = random.Random(f"{SEED}:{type(self).__name__}:{next(_numbers)}")

    def path(self, run: str = "") -> str:
        return f"/agents/{self.agent}/runs/{run}{PATH}" if run else f"/agents/{self.agent}{PATH}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


class StreamCaller(Caller, HttpUser):
    """Streams, one after the other."""

    abstract = True
    pause_s = 0.0  # of a slow reader
    stop_after = 0  # tokens, of one that leaves
    words = 60

    def stream(self, messages: list[dict[str, str]], run: str = "", extra: dict[str, str] | None = None) -> Sample:
        kind, began = type(self).__name__, time.monotonic()
        sample = Sample(kind, time.time(), 0, 0.0, run=run)
        try:
            with self.client.post(
                self.path(run),
                json=body(messages, stream=True),
                headers={**self.headers, **(extra or {})},
                stream=True,
                timeout=TIMEOUT_S,
                catch_response=True,
                name=f"{kind} headers",
            ) as response:
                sample.status = response.status_code
                sample.served_by = response.headers.get("x-headgate-served-by", "")
                sample.cache = response.headers.get("x-headgate-cache", "")
                if response.status_code == 200:
                    self._took(sample, read(response.raw, began, pause_s=self.pause_s, stop_after=self.stop_after))
                else:
                    sample.error = response.text[:200]
                response.success()
        except Exception as error:  # whatever the client's library raises is an answer that was not whole
            sample.whole, sample.error = False, f"{type(error).__name__}: {error}"[:200]
        sample.e2e_s = time.monotonic() - began
        RECORDER.add(sample)
        fire("E2E", kind, sample.e2e_s, sample.error if sample.failed else "")
        return sample

    def _took(self, sample: Sample, told: Told) -> None:
        sample.first_s, sample.tokens, sample.error = told.first_s, told.tokens, told.error or ""
        sample.longest_gap_s = max(told.gaps, default=0.0)
        sample.left = bool(self.stop_after) and not told.whole
        sample.whole = told.whole
        if told.first_s is not None:
            fire("TTFT", sample.kind, told.first_s)
        fire("ICLMAX", sample.kind, sample.longest_gap_s)

    def ask(self) -> None:
        self.stream([{"role": "user", "content": prompt(self.rng, self.words)}])


def ask(user: StreamCaller) -> None:
    user.ask()


class Streamer(StreamCaller):
    tasks = (ask,)
    wait_time = between(0.05, 0.3)


class SlowReader(StreamCaller):
    """Takes a piece every so often."""

    tasks = (ask,)
    wait_time = between(0.1, 0.5)
    pause_s = 0.2


class Leaver(StreamCaller):
    """Three of ten leave after a few tokens."""

    tasks = (ask,)
    wait_time = between(0.05, 0.3)

    def ask(self) -> None:
        self.stop_after = 3 if self.rng.random() < 0.3 else 0
        super().ask()


class Whale(StreamCaller):
    """Prompts of a megabyte and more."""

    tasks = (ask,)
    wait_time = between(0.5, 1.5)
    words = 250_000


class Agent(StreamCaller):
    """Runs of 5 to 12 steps whose prompts grow, with time to think, some in parallel, in one run each."""

    wait_time = constant(0.1)

    @task
    def run_once(self) -> None:
        began, run = time.monotonic(), f"run-{next(_numbers)}"
        messages = [{"role": "system", "content": "You are an agent. " + " ".join(WORDS * 60)}]
        for _ in range(self.rng.randint(5, 12)):
            messages.append({"role": "user", "content": prompt(self.rng, self.rng.randint(40, 300))})
            sample = self.stream(messages, run)
            if sample.status != 200:
                break
            messages.append({"role": "assistant", "content": "done"})
            time.sleep(min(2.0, self.rng.lognormvariate(-1.5, 0.8)))
        fire("RUN", "Agent", time.monotonic() - began)


class PlainCaller(Caller, FastHttpUser):
    abstract = True

    def call(self, messages: list[dict[str, str]], extra: dict[str, str] | None = None, run: str = "") -> Sample:
        kind, began = type(self).__name__, time.monotonic()
        sample = Sample(kind, time.time(), 0, 0.0, run=run)
        with self.client.post(
            self.path(run),
            json=body(messages, stream=False),
            headers={**self.headers, **(extra or {})},
            catch_response=True,
            name=kind,
        ) as response:
            sample.status = response.status_code or 0
            headers = response.headers or {}
            sample.served_by = headers.get("x-headgate-served-by", "")
            sample.cache = headers.get("x-headgate-cache", "")
            sample.whole = sample.status == 200 and '"finish_reason"' in (response.text or "")
            sample.error = "" if sample.status == 200 else (response.text or str(response.error))[:200]
            if sample.failed:
                response.failure(sample.error)
            else:
                response.success()
        sample.e2e_s = time.monotonic() - began
        RECORDER.add(sample)
        return sample


class Plain(PlainCaller):
    wait_time = between(0.02, 0.2)

    @task
    def ask(self) -> None:
        self.call([{"role": "user", "content": prompt(self.rng, 60)}])


class Repeater(PlainCaller):
    """Asks what was asked before, the same few things most often (Zipf)."""

    agent = "cached"
    wait_time = between(0.02, 0.1)

    @task
    def ask(self) -> None:
        rank = min(QUESTIONS, int(self.rng.paretovariate(1.0)))
        self.call([{"role": "user", "content": f"question {rank}"}])


class Spender(PlainCaller):
    """All at once against one dollar."""

    agent = "spender"
    wait_time = constant(0.01)

    @task
    def ask(self) -> None:
        self.call([{"role": "user", "content": prompt(self.rng, 400)}])


class Limited(PlainCaller):
    """Above its calls a minute."""

    agent = "limited"
    wait_time = constant(0.02)

    @task
    def ask(self) -> None:
        self.call([{"role": "user", "content": prompt(self.rng, 20)}])


class Quiet(PlainCaller):
    """One who asks now and then, beside whatever else is going on."""

    agent = "quiet"
    wait_time = constant(0.5)

    @task
    def ask(self) -> None:
        self.call([{"role": "user", "content": prompt(self.rng, 60)}])


KINDS = {
    kind.__name__: kind
    for kind in (Streamer, SlowReader, Leaver, Whale, Agent, Plain, Repeater, Spender, Limited, Quiet)
}
