"""The configuration of `headgate up`: made from what is there instead of from a file.

Vendors count when the environment has their usual key, engines when something that lists models answers on their usual
loopback port; simulated models answer beside them. Each is reachable as `name/model`; names that can only mean one
of them are reachable plainly, so that an agent needs nothing but another base URL. What the process may look at is
handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from proxy.config.file import Document, Place
from proxy.config.load import build
from proxy.config.schema import Config
from proxy.config.tree import Path, Value, paths

# The models listed by an OpenAI-compatible engine on a loopback port; None: there is none.
Probe = Callable[[int], tuple[str, ...] | None]


class Vendor(Struct, frozen=True):
    """`plain`: beginnings of the names by which its models are known without its own name in front."""

    variable: str
    plain: tuple[str, ...] = ()


VENDORS: Mapping[str, Vendor] = {  # by engine
    "openai": Vendor(
        "OPENAI_API_KEY",
        ("gpt-", "chatgpt-", "o1", "o3", "o4", "codex-", "text-embedding-", "omni-moderation-", "whisper-", "tts-"),
    ),
    "deepseek": Vendor("DEEPSEEK_API_KEY", ("deepseek-",)),
    "fireworks": Vendor("FIREWORKS_API_KEY"),
    "gemini": Vendor("GEMINI_API_KEY", ("gemini-", "gemma-")),
    "groq": Vendor("GROQ_API_KEY"),
    "mistral": Vendor(
        "MISTRAL_API_KEY",
        ("mistral-", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-", "open-mistral-"),
    ),
    "openrouter": Vendor("OPENROUTER_API_KEY"),
    "together": Vendor("TOGETHER_API_KEY"),
    "xai": Vendor("XAI_API_KEY", ("grok-",)),
}
ENGINE_PORTS: Mapping[int, str] = {8000: "vllm", 11434: "ollama", 8080: "llamacpp", 30000: "sglang"}
OWN_PORT, OTHER_PORT = 8080, 8088  # llama.cpp has the first one too
PLAIN_NAMES_MAX = 256
SIMULATED: Mapping[str, tuple[str, str]] = {"sim-small": ("0.15", "0.60"), "sim-large": ("2.50", "10")}
OTHER_DIALECTS: Mapping[str, str] = {"ANTHROPIC_API_KEY": "Anthropic's"}


class Found(Struct, frozen=True):
    config: Config
    notices: tuple[str, ...]


def discovered(environment: Mapping[str, str], probe: Probe, overrides: Mapping[str, Value] | None = None) -> Found:
    """Raises ConfigError, for an override may be wrong and so may a key."""
    survey = _Survey()
    for name, vendor in VENDORS.items():
        if environment.get(vendor.variable):
            survey.vendor(name, environment[vendor.variable])
    for port, engine in ENGINE_PORTS.items():
        models = probe(port)
        if models is not None:
            survey.engine(engine, port, models)
    survey.simulated(alone=not survey.providers)
    survey.secrets(environment)
    for variable, whose in OTHER_DIALECTS.items():
        if environment.get(variable):
            survey.notices.append(f"{variable} is set, but {whose} dialect is not available in this version: not used")
    return Found(build(survey.document(), overrides or {}), tuple(survey.notices))


class _Survey:
    """Collects the values, as if they had been read from a file."""

    def __init__(self) -> None:
        self.providers: dict[str, Value] = {}
        self.notices: list[str] = []
        self._models: dict[str, list[Value]] = {}
        self._keys: list[Value] = []
        self._blocks: dict[str, dict[str, Value]] = {}
        self._places: dict[Path, Place] = {}
        self._found: list[tuple[str, str]] = []

    def vendor(self, name: str, key: str) -> None:
        vendor = VENDORS[name]
        origin = f"environment {vendor.variable}"
        self._provider(name, {"kind": "openai", "engine": name, "api_key": key}, origin)
        self._found.append((key, f"${{{vendor.variable}}}"))
        for start in vendor.plain:
            self._model(f"{start}*", f"{name}/{start}*", origin)
            if not start.endswith("-"):
                self._model(start, f"{name}/{start}", origin)  # `o3` is a name of its own, `gpt-` is not
        self.notices.append(f"{name}: the key in {vendor.variable}")

    def engine(self, name: str, port: int, models: tuple[str, ...]) -> None:
        origin = f"found on port {port}"
        self._provider(name, {"kind": "openai", "engine": name, "base_url": f"http://127.0.0.1:{port}/v1"}, origin)
        for model in models[:PLAIN_NAMES_MAX]:
            if "*" not in model and " " not in model and model.isprintable():
                self._model(model, f"{name}/{model}", origin)
        self._set("pricing", "unknown", "allow", "an engine without a price")
        self.notices.append(f"{name}: {len(models)} models on port {port}; without a price, so marked unpriced")
        if port == OWN_PORT:
            self._set("server", "port", OTHER_PORT, f"port {OWN_PORT} is taken")

    def simulated(self, *, alone: bool) -> None:
        """Always there: a first try should cost nothing, whatever else answers."""
        origin = "built in"
        self._provider("simulated", {"kind": "simulated"}, origin)
        prices: dict[str, Value] = {}
        for model, (price_in, price_out) in SIMULATED.items():
            self._model(model, f"simulated/{model}", origin)
            prices[f"simulated/{model}"] = {"input_usd_per_mtok": price_in, "output_usd_per_mtok": price_out}
        self._set("pricing", "overrides", prices, origin)
        names = " and ".join(SIMULATED)
        if alone:
            self.notices.append(f"no provider key and no engine was found: {names} are SIMULATED, answers are made up")
        else:
            self.notices.append(f"{names} are SIMULATED: for a first try; answers are made up, nobody bills them")

    def secrets(self, environment: Mapping[str, str]) -> None:
        if key := environment.get("HEADGATE_KEY"):
            self._keys.append({"key": key})
            self._places["keys", 0, "key"] = Place(origin="environment HEADGATE_KEY")
            self._found.append((key, "${HEADGATE_KEY}"))
        if token := environment.get("HEADGATE_ADMIN_TOKEN"):
            self._set("admin", "token", token, "environment HEADGATE_ADMIN_TOKEN")
            self._found.append((token, "${HEADGATE_ADMIN_TOKEN}"))

    def document(self) -> Document:
        models: dict[str, Value] = {name: {"targets": targets} for name, targets in self._models.items()}
        values: dict[str, Value] = {**self._blocks, "keys": self._keys, "providers": self.providers, "models": models}
        return Document("headgate up", values, self._places, found=tuple(self._found))

    def _provider(self, name: str, fields: dict[str, Value], origin: str) -> None:
        self.providers[name] = fields
        self._places |= {("providers", name, field): Place(origin=origin) for field in fields}
        self._model(f"{name}/*", f"{name}/*", origin)

    def _model(self, name: str, target: str, origin: str) -> None:
        targets = self._models.setdefault(name, [])
        self._places["models", name, "targets", len(targets)] = Place(origin=origin)
        targets.append(target)

    def _set(self, block: str, name: str, value: Value, origin: str) -> None:
        self._blocks.setdefault(block, {})[name] = value
        self._places |= dict.fromkeys(paths(value, (block, name)), Place(origin=origin))
