"""A LiteLLM proxy's configuration, said in ours: pure, from the values of its file to those of one that we read.

Every setting is either taken or named with a reason; none is dropped in silence. Secrets are never copied: what was
`os.environ/NAME` becomes `${NAME}`, and one that stood in the file becomes a name that its owner has to fill. What is
meant is LiteLLM's documentation of its `config.yaml` (docs.litellm.ai, proxy configuration).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec import Struct

from proxy.config.found import VENDORS
from proxy.config.tree import Value
from proxy.providers.engines import ENGINES

Block = dict[str, Value]

ENGINE_OF: Final[Mapping[str, str]] = {  # by the first part of a model's name there
    **{name: name for name in ENGINES if name not in ("simulated", "headgate", "litellm")},
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "hosted_vllm": "vllm",
    "ollama_chat": "ollama",
    "llamafile": "llamacpp",
    "lm_studio": "lmstudio",
    "text-completion-openai": "openai",
    "custom_openai": "openai",
    "litellm_proxy": "litellm",
}
BALANCE_OF: Final[Mapping[str, str]] = {
    "simple-shuffle": "weighted",
    "latency-based-routing": "lowest_latency",
    "cost-based-routing": "least_cost",
}  # the others ask who is least busy, which is part of `score`, the default
TAKEN_AS_IS: Final = ("rpm", "tpm", "weight", "order")
COSTS: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input_usd_per_mtok",
    "output_cost_per_token": "output_usd_per_mtok",
    "cache_read_input_token_cost": "input_cached_usd_per_mtok",
}
SIZES: Final[Mapping[str, str]] = {"max_input_tokens": "context_tokens", "max_output_tokens": "output_tokens_max"}
FALLBACKS: Final[Mapping[str, str]] = {
    "context_window_fallbacks": "context_window",
    "content_policy_fallbacks": "content_filter",
}
WHY_NOT: Final[Mapping[str, str]] = {
    "allowed_fails": "breakers learn it from the failures they see",
    "cooldown_time": "breakers wait, longer each time, and probe",
    "callbacks": "traces and metrics are configured under telemetry",
    "success_callback": "traces and metrics are configured under telemetry",
    "failure_callback": "traces and metrics are configured under telemetry",
    "drop_params": "bodies go upstream as they came",
    "set_verbose": "there is one log line a call, always",
    "database_url": "the ledger is a file in data_dir",
    "max_budget": "give it to agents, keys or teams: `budget: [{usd: 5, per: day}]`",
    "budget_duration": "give it to agents, keys or teams: `budget: [{usd: 5, per: day}]`",
    "redis_host": "workers of one gate share their state; several gates share by `shared.redis`",
    "redis_port": "workers of one gate share their state; several gates share by `shared.redis`",
    "redis_password": "workers of one gate share their state; several gates share by `shared.redis`",
}
NO_EQUIVALENT: Final = "there is nothing like it"
ROUTER, GENERAL, SETTINGS = "router_settings", "general_settings", "litellm_settings"
ATTEMPTS_MAX: Final = 10
MTOK: Final = 1_000_000


class LeftOut(Struct, frozen=True):
    setting: str  # where it stood, without its value
    why: str


class Translation(Struct, frozen=True):
    configuration: Block
    left_out: list[LeftOut]


def translated(values: Mapping[str, Value]) -> Translation:
    reading = _Reading()
    models = values.get("model_list")
    for at, entry in enumerate(models if isinstance(models, list) else ()):
        reading.entry(f"model_list.{at}", _mapping(entry))
    for name in (SETTINGS, ROUTER, GENERAL):  # what the router says goes before what the library says
        reading.settings(name, dict(_mapping(values.get(name))))
    known = ("model_list", SETTINGS, ROUTER, GENERAL)
    reading.rest("", {name: value for name, value in values.items() if name not in known})
    return Translation(reading.configuration(), reading.left_out)


class _Reading:
    """Collects the parts, in the order in which they are met."""

    def __init__(self) -> None:
        self.left_out: list[LeftOut] = []
        self._providers: dict[str, Block] = {}
        self._models: dict[str, Block] = {}
        self._prices: dict[str, Value] = {}
        self._defaults: Block = {}
        self._keys: list[Value] = []

    def configuration(self) -> Block:
        blocks: dict[str, Value] = {
            "keys": self._keys,
            "providers": dict(self._providers),
            "models": dict(self._models),
            "defaults": self._defaults,
            "pricing": {"overrides": self._prices} if self._prices else {},
        }
        return {name: block for name, block in blocks.items() if block}

    def rest(self, place: str, left: Mapping[str, Value]) -> None:
        for name in left:
            why = WHY_NOT.get(name, NO_EQUIVALENT)
            self.left_out.append(LeftOut(f"{place}.{name}".lstrip("."), why))

    # --- one deployment ------------------------------------------------------------------------------------------

    def entry(self, place: str, entry: Block) -> None:
        name, params, about = entry.pop("model_name", None), _mapping(entry.pop("litellm_params", None)), entry
        information = _mapping(about.pop("model_info", None))
        engine, model = _engine(str(params.pop("model", "")), params)
        if engine is None or not isinstance(name, str):
            self.left_out.append(LeftOut(f"{place} ({name})", f"its provider speaks no dialect that is known: {model}"))
            return
        provider = self._provider(place, engine, params)
        target: Block = {"provider": provider, "model": model}
        target |= {field: params.pop(field) for field in TAKEN_AS_IS if field in params}
        if "max_parallel_requests" in params:
            target["concurrency"] = params.pop("max_parallel_requests")
        target |= {ours: information.pop(theirs) for theirs, ours in SIZES.items() if theirs in information}
        self._price(f"{provider}/{model}", params | information)
        targets = self._models.setdefault(name, {"targets": []})["targets"]
        if isinstance(targets, list):
            targets.append(target)
        ignored = ("id", "mode", "db_model", *COSTS)  # what it tells is known here, or was taken above
        for left, where in ((params, "litellm_params"), (information, "model_info"), (about, "")):
            self.rest(f"{place}.{where}".rstrip("."), {key: left[key] for key in left if key not in ignored})

    def _provider(self, place: str, engine: str, params: Block) -> str:
        """One for each account: engine, address and key."""
        settings: Block = {"kind": "openai", "engine": engine}
        address = params.pop("api_base", None) or params.pop("base_url", None)
        if address is not None:
            settings["base_url"] = _reference(address) or str(address).rstrip("/")
        elif ENGINES[engine].base_url is None:
            settings["base_url"] = _variable(f"{engine}_base_url")
        key = params.pop("api_key", None)
        if key is not None or engine in VENDORS:
            settings["api_key"] = self._secret(f"{place}.litellm_params.api_key", engine, key)
        if "api_version" in params:
            settings["api_version"] = params.pop("api_version")
        for name, known in self._providers.items():
            if known == settings:
                return name
        name = _free(engine, self._providers)
        self._providers[name] = settings
        return name

    def _secret(self, place: str, engine: str, key: Value) -> str:
        own = VENDORS[engine].variable if engine in VENDORS else f"{engine}_api_key".upper()
        if key is None or (found := _reference(key)) is not None:
            return _variable(own) if key is None else found or ""
        self.left_out.append(LeftOut(place, f"a secret is not copied: put it into the environment as {own}"))
        return _variable(own)

    def _price(self, target: str, params: Mapping[str, Value]) -> None:
        found = {ours: amount for theirs, ours in COSTS.items() if (amount := _usd_per_mtok(params.get(theirs)))}
        if {"input_usd_per_mtok", "output_usd_per_mtok"} <= found.keys():
            self._prices[target] = dict(found)

    # --- what holds for all --------------------------------------------------------------------------------------

    def settings(self, place: str, given: Block) -> None:
        retries = given.pop("num_retries", None)
        if isinstance(retries, int):
            self._defaults["retry"] = {"attempts": min(ATTEMPTS_MAX, retries + 1)}
        for theirs, ours in (("request_timeout", "deadline_s"), ("timeout", "deadline_s"),
                             ("stream_timeout", "first_token_timeout_s")):  # fmt: skip
            if (length := given.pop(theirs, None)) is not None:
                self._defaults[ours] = length
        self._fallbacks(given)
        self._balance(given.pop("routing_strategy", None))
        for alias, model in _mapping(given.pop("model_group_alias", None)).items():
            if isinstance(model, str) and model in self._models:
                self._models[alias] = deepcopy(self._models[model])
        if (master := given.pop("master_key", None)) is not None:
            self._keys.append({"key": _reference(master) or _variable("headgate_key"), "agent": "any"})
        self._cache(given)
        self.rest(place, given)

    def _fallbacks(self, given: Block) -> None:
        for theirs in ("fallbacks", *FALLBACKS):
            for pair in _list(given.pop(theirs, None)):
                for model, others in _mapping(pair).items():
                    self._fall_back(model, theirs, [str(other) for other in _list(others)])
        for_all = [str(other) for other in _list(given.pop("default_fallbacks", None))]
        for model in self._models if for_all else ():
            if "fallbacks" not in self._models[model]:
                self._fall_back(model, "fallbacks", [other for other in for_all if other != model])

    def _fall_back(self, model: str, theirs: str, others: list[str]) -> None:
        known = [other for other in others if other in self._models]
        if model not in self._models or not known:
            self.left_out.append(LeftOut(f"{theirs} of {model}", "it names a model that is not translated"))
            return
        fallbacks = self._models[model].setdefault("fallbacks", {})
        if isinstance(fallbacks, dict):
            fallbacks |= {"any": list[Value](known)} if theirs == "fallbacks" else {FALLBACKS[theirs]: known[0]}

    def _balance(self, strategy: Value) -> None:
        balance = BALANCE_OF.get(str(strategy))
        for model in self._models.values() if balance else ():
            targets = model["targets"]
            if isinstance(targets, list) and len(targets) > 1:
                model["balance"] = balance

    def _cache(self, given: Block) -> None:
        wanted, params = given.pop("cache", None), _mapping(given.pop("cache_params", None))
        if wanted is True:
            ttl = params.pop("ttl", None)
            cache: Block = {"exact": "on"}
            self._defaults["cache"] = cache | ({} if ttl is None else {"ttl_s": ttl})
            params.pop("type", None)  # answers are kept in memory and in a file
        self.rest("cache_params", params)


def _engine(model: str, params: Mapping[str, Value]) -> tuple[str | None, str]:
    """The engine and its own name for the model; None: nobody here speaks to it."""
    first, slash, rest = model.partition("/")
    given = params.get("custom_llm_provider")
    if isinstance(given, str) and given in ENGINE_OF:
        return ENGINE_OF[given], model
    if slash and first in ENGINE_OF:
        return ENGINE_OF[first], rest
    if not slash and any(model.startswith(start) for start in VENDORS["openai"].plain):
        return "openai", model
    return None, model


def _reference(value: Value) -> str | None:
    name = str(value).removeprefix("os.environ/")
    return f"${{{name}}}" if name != str(value) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else None


def _variable(name: str) -> str:
    return f"${{{name.upper()}}}"


def _free(name: str, taken: Mapping[str, Block]) -> str:
    return next(each for number in range(1, len(taken) + 2) if (each := _numbered(name, number)) not in taken)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _usd_per_mtok(each: Value) -> str | None:
    """YAML reads `1e-06` as text, so text is taken for what it says."""
    try:
        return None if each is None else f"{(Decimal(str(each)) * MTOK).normalize():f}"
    except InvalidOperation:
        return None


def _mapping(value: Value) -> Block:
    return dict(value) if isinstance(value, dict) else {}


def _list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []
