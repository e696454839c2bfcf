"""The gate in front of a real engine: llama.cpp's OpenAI server with a model of random weights.

It reports usage for whole replies and, whatever it is asked, none for streams; it works on one request at a time, so a
request that nobody reads any more shows itself by keeping the next one waiting.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.real import environments
from tests.real.gate import API_KEY, Gate, cost_usd_nanos
from tests.real.processes import CLIENTS, Client, Process, free_port, wait_until_ready

pytestmark = [pytest.mark.engine, pytest.mark.real]

MODEL_S_MAX = 60.0
LOAD_S_MAX = 120.0
ENGINE = {  # `interrupt_requests` off: a new request waits for the one before, so that only a lost client ends it
    "model_alias": "tiny",
    "host": "127.0.0.1",
    "n_ctx": "8192",
    "n_threads": "1",
    "chat_format": "chatml",
    "interrupt_requests": "false",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the engine, its model made and loaded."""
    folder = tmp_path_factory.mktemp("engine")
    python, model, port = str(environments.python("engine")), str(folder / "tiny.gguf"), free_port()
    subprocess.run([python, str(CLIENTS / "tiny_model.py"), model], check=True, timeout=MODEL_S_MAX)
    options = [word for name, value in ENGINE.items() for word in (f"--{name}", value)]
    command = [python, "-m", "llama_cpp.server", "--model", model, "--port", str(port), *options]
    process = Process(command, folder / "engine.log")
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/v1/models", LOAD_S_MAX)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.stop()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Gate]:
    provider = {"engine": "llamacpp", "base_url": engine}
    gate = Gate(tmp_path_factory.mktemp("engine-gate"), provider, ("tiny",), attempts=1)
    try:
        yield gate
    finally:
        gate.process.stop()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client("engine", "engine_chat", tmp_path_factory.mktemp("engine-client"))
    try:
        yield client
    finally:
        client.stop()


def test_a_reply_is_the_engines_and_is_billed_by_the_engines_count(client: Client, gate: Gate, engine: str) -> None:
    direct = client.run("chat", engine, "none")
    assert client.run("chat", gate.base_url("chatter", "whole"), API_KEY) == direct
    tokens = dict(zip(("input_tokens", "output_tokens"), direct["value"]["tokens"], strict=True))
    assert direct["value"]["finish_reason"] == "length"
    assert gate.run("whole", calls=1)["cost_usd_nanos"] == cost_usd_nanos(tokens)
    assert gate.spend("agent", "chatter")["estimated_usd_nanos"] == 0


def test_a_stream_has_the_engines_pieces_and_its_cost_is_marked_as_an_estimate(
    client: Client, gate: Gate, engine: str
) -> None:
    direct = client.run("chat_stream", engine, "none")
    assert client.run("chat_stream", gate.base_url("streamer", "stream"), API_KEY) == direct
    assert len(direct["value"]["pieces"]) > 24
    assert gate.run("stream", calls=1)["output_tokens"] > 0
    spend = gate.spend("agent", "streamer")
    assert spend["estimated_usd_nanos"] == spend["cost_usd_nanos"] > 0


def test_who_leaves_frees_the_engine_and_pays_for_what_was_made(client: Client, gate: Gate) -> None:
    """If the gate kept the connection, the next reply would come in minutes."""
    assert len(client.run("leave", gate.base_url("leaver", "left"), API_KEY)["value"]) == 10
    assert "value" in client.run("chat", gate.base_url("next", "next"), API_KEY)
    run = gate.run("left", calls=1)
    assert 0 < run["output_tokens"] < 2000
    assert run["cost_usd_nanos"] > 0
    (call,) = gate.admin("/runs/left")["calls"]
    assert "the client left before the reply was complete" in gate.admin(f"/requests/{call['request_id']}")["decision"]


def test_a_prompt_beyond_the_engines_context_raises_the_callers_mistake(client: Client, gate: Gate) -> None:
    error = client.run("too_long", gate.base_url("chatter"), API_KEY)["error"]
    assert "BadRequestError" in error["classes"], error
