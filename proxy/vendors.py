"""Where the OpenAI-compatible vendors and engines are: addresses and the environment names their keys usually have.

Only addresses stand here; how an engine behaves is a flag of the provider. A vendor's key is sent to its own address
unless the operator writes another `base_url`, so an engine without an address here always needs one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

EngineName = Literal[
    "openai",
    "azure",
    "deepseek",
    "fireworks",
    "gemini",
    "groq",
    "mistral",
    "openrouter",
    "together",
    "xai",
    "llamacpp",
    "ollama",
    "sglang",
    "tgi",
    "vllm",
]


class Vendor(Struct, frozen=True):
    """`plain`: beginnings of the names by which its models are known without its own name in front."""

    base_url: str
    variable: str
    plain: tuple[str, ...] = ()


VENDORS: Mapping[str, Vendor] = {
    "openai": Vendor(
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        ("gpt-", "chatgpt-", "o1", "o3", "o4", "codex-", "text-embedding-", "omni-moderation-", "whisper-", "tts-"),
    ),
    "deepseek": Vendor("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", ("deepseek-",)),
    "fireworks": Vendor("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "gemini": Vendor(
        "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", ("gemini-", "gemma-")
    ),
    "groq": Vendor("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Vendor(
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        ("mistral-", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-", "open-mistral-"),
    ),
    "openrouter": Vendor("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together": Vendor("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "xai": Vendor("https://api.x.ai/v1", "XAI_API_KEY", ("grok-",)),
}

ENGINE_PORTS: Mapping[int, EngineName] = {8000: "vllm", 11434: "ollama", 8080: "llamacpp", 30000: "sglang"}
