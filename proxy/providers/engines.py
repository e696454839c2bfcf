"""What is known of the engines and vendors that speak OpenAI's dialect: one row of flags each, no code.

A row says where a vendor is, how it takes its credential, what of the dialect it serves, whether it reports the usage
of a stream when asked, and what a closed connection does to its bill. Where nothing is certain the row says what cannot
cost money unseen: `unknown` for the bill. An engine of one's own stops generating when its client leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from pricing.tokens import encoding_for
from proxy.types import AbortRule, Endpoint, Traits

KeyHeader = Literal["Authorization", "api-key"]

PATHS: Mapping[Endpoint, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
    "images": "/images/generations",
    "speech": "/audio/speech",
    "transcriptions": "/audio/transcriptions",
    "moderations": "/moderations",
    "rerank": "/rerank",
}
EVERYTHING = frozenset(PATHS)
TEXT: frozenset[Endpoint] = frozenset({"chat", "completions", "embeddings", "responses"})
AUDIO: frozenset[Endpoint] = frozenset({"speech", "transcriptions"})


class Engine(Struct, frozen=True):
    base_url: str | None  # up to the version; None: it is wherever its operator put it
    price_provider: str | None  # its name in the price book; None: nobody sends a bill
    serves: frozenset[Endpoint]  # what is known to exist there
    stream_usage: bool = True
    abort: AbortRule = "unknown"
    key_header: KeyHeader = "Authorization"  # with `Bearer`, or the bare key
    output_limit_field: str = "max_tokens"  # what bounds the output of a chat request there
    deadline_header: bool = False  # it reads how much time is left
    health: str | None = None  # a path beside `/v1` that says whether it is well; None: its list of models says so
    adaptive: bool = False  # how much it can do at a time is learned from how soon it answers
    continues_messages: bool = False  # it knows `continue_final_message`
    load: str | None = None  # a path beside `/v1` that says how busy it is
    prefix_cache: bool = False  # it is one's own and keeps the prompts that it has read

    def traits(self, model: str) -> Traits:
        """What is known of any model there; a configuration may know more."""
        return Traits(
            stream_usage=self.stream_usage,
            vocabulary=encoding_for(model),
            output_limit_field=self.output_limit_field,
            abort=self.abort,
            continues_messages=self.continues_messages,
            prefix_cache=self.prefix_cache,
        )


def _own(*further: Endpoint, health: str | None = None, load: str | None = None, continues: bool = False) -> Engine:
    serves = frozenset({"chat", "completions", *further})
    return Engine(
        None,
        None,
        serves,
        abort="stops",
        health=health,
        load=load,
        adaptive=True,
        continues_messages=continues,
        prefix_cache=True,
    )


ENGINES: Mapping[str, Engine] = {
    # its reasoning models refuse `max_tokens`
    "openai": Engine(
        "https://api.openai.com/v1",
        "openai",
        EVERYTHING - {"rerank"},
        output_limit_field="max_completion_tokens",
    ),
    "azure": Engine(
        None,
        "azure",
        EVERYTHING - {"rerank", "moderations"},
        key_header="api-key",
        output_limit_field="max_completion_tokens",
    ),
    "openrouter": Engine("https://openrouter.ai/api/v1", "openrouter", TEXT),
    "groq": Engine("https://api.groq.com/openai/v1", "groq", AUDIO | {"chat", "responses"}),
    "together": Engine("https://api.together.xyz/v1", "together", EVERYTHING - {"responses", "moderations"}),
    "fireworks": Engine("https://api.fireworks.ai/inference/v1", "fireworks", TEXT | {"rerank", "transcriptions"}),
    # refuses fields it does not know, and reports usage at the end of every stream unasked
    "mistral": Engine(
        "https://api.mistral.ai/v1",
        "mistral",
        frozenset({"chat", "embeddings", "moderations", "transcriptions"}),
        stream_usage=False,
    ),
    "deepseek": Engine("https://api.deepseek.com/v1", "deepseek", frozenset({"chat", "completions"})),
    "xai": Engine("https://api.x.ai/v1", "x-ai", TEXT | {"images"}),
    "gemini": Engine(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "google",
        frozenset({"chat", "embeddings", "images"}),
    ),
    # a gateway: what stands behind it decides; its `/health` asks the models themselves, which costs money
    "litellm": Engine(None, None, EVERYTHING),
    "headgate": Engine(None, None, EVERYTHING, health="/health/ready", deadline_header=True),  # another gate like this
    "vllm": _own(
        "embeddings", "responses", "transcriptions", "rerank", health="/health", load="/metrics", continues=True
    ),
    "sglang": _own("embeddings", "responses", "rerank", health="/health", load="/metrics", continues=True),
    "tgi": _own(health="/health"),
    "llamacpp": _own("embeddings", "responses", "rerank", health="/health", load="/slots"),
    "ollama": _own("embeddings", "responses", "images"),
    "lmstudio": _own("embeddings", "responses"),
    # answered in this process by `simulated`; the name resolves nowhere
    "simulated": Engine("http://simulated.invalid/v1", None, TEXT, abort="stops"),
}
