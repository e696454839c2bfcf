"""What no single field can know: short forms, features this version does not have, and names that refer to nothing.

All of it works on the values as they were read, before the schema sees them, so that one run finds the mistakes of both
kinds. It never assumes a type: what is not what it should be is left for the schema to refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from ipaddress import ip_address

from proxy.caching.library import EXTRA, missing
from proxy.config.fields import below, nearest
from proxy.config.file import Place
from proxy.config.schema import Admin, Server
from proxy.config.tree import Path, Problem, Value

_KNOBS = frozenset("breaker output_tokens_max".split())  # noqa: SIM905

# Names that will mean something one day; they are refused with other words than a typo, and never ignored.
NOT_YET: Mapping[Path, frozenset[str]] = {
    ("agents", "*"): _KNOBS,
    ("agents", "*", "retry"): frozenset({"budget"}),  # there is one attempt budget, that of `defaults`
    ("defaults",): _KNOBS,
}
# Values that are the whole block's nature: without them nothing else in the block can be judged.
NATURES_NOT_YET: Mapping[Path, frozenset[str]] = {
    ("providers", "*", "kind"): frozenset({"anthropic", "gemini", "bedrock"}),
}
LATER = "not available in this version"


def write_out(values: dict[str, Value], places: dict[Path, Place]) -> None:
    """Short forms, `qwen: vllm/qwen3` and `targets: [vllm/qwen3]`; the long form stands where the short one stood."""
    models = values.get("models")
    for name, model in _items(values, "models"):
        if isinstance(model, str) and isinstance(models, dict):
            models[name] = {"targets": [model]}
            _moved(places, ("models", name), ("targets", 0))
        targets = _list(below(values, ("models", name, "targets")))
        for at, target in enumerate(targets):
            if isinstance(target, str) and "/" in target:
                provider, _, rest = target.partition("/")
                targets[at] = {"provider": provider, "model": rest}
                _moved(places, ("models", name, "targets", at), ("provider",))
                _moved(places, ("models", name, "targets", at), ("model",))


def _moved(places: dict[Path, Place], path: Path, further: Path) -> None:
    if path in places:
        places[path + further] = places[path]


def take_out_what_is_later(values: dict[str, Value]) -> Iterator[Problem]:
    for pattern, natures in NATURES_NOT_YET.items():
        for path, block in _blocks(values, pattern[:-1]):
            nature = block.get(str(pattern[-1]))
            if isinstance(nature, str) and nature in natures:
                yield Problem((*path, pattern[-1]), f"{pattern[-1]} {nature!r} is {LATER}")
                _remove(values, path)
    for pattern, names in NOT_YET.items():
        for path, block in _blocks(values, pattern):
            for name in [name for name in block if name in names]:
                yield Problem((*path, name), LATER)
                del block[name]


def references(values: dict[str, Value]) -> Iterator[Problem]:
    """Names of providers and models that nothing bears. Asked before anything is taken out."""
    models = _names(values, "models")
    if not models:
        yield Problem(("models",), "no model is configured, so nothing could be served")
    for name, model in _items(values, "models"):
        for at, target in enumerate(_list(below(model, ("targets",)))):
            yield from _target(values, ("models", name, "targets", at), target)
        cheaper = below(model, ("cheaper",))
        if isinstance(cheaper, str) and (cheaper not in models or cheaper == name or cheaper.endswith("*")):
            hint = nearest(cheaper, models - {name})
            yield Problem(("models", name, "cheaper"), f"it must name another model, without `*`{hint}")
        yield from _fallbacks(name, below(model, ("fallbacks",)), models)
        yield from _members(values, name, model)
        yield from _second_looks(values, name, model)
        yield from _arms(values, name, model)
    for pattern in (("agents", "*"), ("keys", "*")):
        for path, block in _blocks(values, pattern):
            for at, wanted in enumerate(_list(block.get("models"))):
                if isinstance(wanted, str) and wanted not in models:
                    yield Problem((*path, "models", at), f"there is no model {wanted!r}{nearest(wanted, models)}")
    yield from _price_names(values)
    yield from _gpus(values)
    yield from _semantic(values, models)
    yield from _gates(values)
    if below(values, ("shared", "redis")) and find_spec("redis") is None:
        yield Problem(("shared", "redis"), "it needs the extra: pip install 'headgate[redis]'")


def _target(values: Value, path: Path, target: Value) -> Iterator[Problem]:
    if isinstance(target, str):
        yield Problem(path, "a target reads provider/model")
    provider, model = below(target, ("provider",)), below(target, ("model",))
    providers = _names(values, "providers")
    if isinstance(provider, str) and provider not in providers:
        yield Problem((*path, "provider"), f"there is no provider {provider!r}{nearest(provider, providers)}")
    if isinstance(model, str) and model.endswith("*") and not str(path[1]).endswith("*"):
        yield Problem((*path, "model"), "`*` needs a model name that ends with `*`")


def _fallbacks(name: str, fallbacks: Value, models: frozenset[str]) -> Iterator[Problem]:
    """Each names another model, as a call could: one that a wildcard stands for will do."""
    wild = tuple(model[:-1] for model in models if model.endswith("*"))
    every = [((kind,), named) for kind, named in _items({"": fallbacks}, "") if kind != "any"]
    listed = [(("any", at), named) for at, named in enumerate(_list(below(fallbacks, ("any",))))]
    found: list[tuple[Path, Value]] = [*every, *listed]
    for path, named in found:
        if not isinstance(named, str) or (named != name and "*" not in named and named.startswith(wild)):
            continue
        if named not in models or named == name or named.endswith("*"):
            hint = nearest(named, models - {name})
            yield Problem(("models", name, "fallbacks", *path), f"it must name another model, without `*`{hint}")


def _members(values: Value, name: str, model: Value) -> Iterator[Problem]:
    """Each names another model that answers alone, or a target."""
    models, providers = _names(values, "models"), _names(values, "providers")
    wild = tuple(each[:-1] for each in models if each.endswith("*"))
    for field in ("steps", "members"):
        for at, named in enumerate(_list(below(model, (field,)))):
            if not isinstance(named, str):
                continue
            path = ("models", name, field, at)
            if named in models:
                if named == name or not _alone(values, named):
                    yield Problem(path, "it must name a model that answers alone")
            elif not (named.startswith(wild) or named.partition("/")[0] in providers):
                yield Problem(path, f"there is no model {named!r}{nearest(named, models - {name})}")


def _alone(values: Value, named: str) -> bool:
    mode, experiment = (below(values, ("models", named, field)) for field in ("mode", "experiment"))
    return mode in (None, "single") and experiment is None


def _second_looks(values: Value, name: str, model: Value) -> Iterator[Problem]:
    """Who looks at the answers of a cascade answers alone: else it could be asked about its own."""
    models = _names(values, "models")
    for block in ("agree", "judge"):
        named = below(model, (block, "model"))
        if isinstance(named, str) and named not in models:
            yield Problem(("models", name, block, "model"), f"there is no model {named!r}{nearest(named, models)}")
        elif isinstance(named, str) and not _alone(values, named):
            yield Problem(("models", name, block, "model"), "it must name a model that answers alone")


def _arms(values: Value, name: str, model: Value) -> Iterator[Problem]:
    """An experiment compares two other models, of any mode, by a name that always means the same."""
    models = _names(values, "models")
    experiment = below(model, ("experiment",))
    if experiment is not None and name.endswith("*"):
        yield Problem(("models", name, "experiment"), "an experiment has a name without `*`")
    for arm in ("control", "candidate"):
        named, path = below(experiment, (arm,)), ("models", name, "experiment", arm)
        if not isinstance(named, str):
            continue
        if named not in models or named == name or named.endswith("*"):
            hint = nearest(named, models - {name})
            yield Problem(path, f"it must name another model, without `*`{hint}")
        elif below(values, ("models", named, "experiment")) is not None:
            yield Problem(path, "it must name a model that is no experiment itself")
    if isinstance(experiment, dict) and experiment.get("control") == experiment.get("candidate") is not None:
        yield Problem(("models", name, "experiment", "candidate"), "the control is the same model")


def _semantic(values: dict[str, Value], models: frozenset[str]) -> Iterator[Problem]:
    """A semantic cache asks models that are configured, and needs a package that the gate itself does not."""
    for pattern in (("defaults",), ("agents", "*")):
        for path, block in _blocks(values, (*pattern, "cache", "semantic")):
            if missing():
                yield Problem(path, f"it needs the extra: pip install '{EXTRA}'")
            for field in ("model", "judge"):
                named = block.get(field)
                if isinstance(named, str) and named not in models:
                    yield Problem((*path, field), f"there is no model {named!r}{nearest(named, models)}")


def _price_names(values: dict[str, Value]) -> Iterator[Problem]:
    providers = _names(values, "providers")
    for key, _ in _items(values.get("pricing"), "overrides"):
        provider, _, model = key.partition("/")
        if not model:
            yield Problem(("pricing", "overrides", key), "the name must be provider/model")
        elif provider not in providers:
            hint = nearest(provider, providers)
            yield Problem(("pricing", "overrides", key), f"there is no provider {provider!r}{hint}")


def _gates(values: dict[str, Value]) -> Iterator[Problem]:
    """A gate looks after targets that are known by name, each after its own."""
    before: dict[tuple[str, str], str] = {}
    for name, model in _items(values, "models"):
        if below(model, ("gate",)) is None:
            continue
        targets = _list(below(model, ("targets",)))
        if not targets or name.endswith("*"):
            yield Problem(("models", name, "gate"), "a gate stands before targets that are named, without `*`")
        for target in targets:
            known = str(below(target, ("provider",))), str(below(target, ("model",)))
            if before.setdefault(known, name) != name:
                message = f"the gate of {before[known]!r} looks after {'/'.join(known)} already"
                yield Problem(("models", name, "gate"), message)


def _gpus(values: dict[str, Value]) -> Iterator[Problem]:
    """An engine is paid by the hour, and not by the token as well."""
    for name in _names(values, "providers"):
        if below(values, ("providers", name, "gpu")) is None:
            continue
        for key, _ in _items(values.get("pricing"), "overrides"):
            if key.partition("/")[0] == name:
                message = f"{name} is paid by the hour (providers.{name}.gpu): its tokens have no price of their own"
                yield Problem(("pricing", "overrides", key), message)


def listeners(values: dict[str, Value], *, keys_stored: bool) -> Iterator[Problem]:
    """Nothing is open to a network without a secret, and no secret is there twice."""
    seen: dict[str, int] = {}
    for at, entry in enumerate(_list(values.get("keys"))):
        text = str(below(entry, ("key",)) or "")
        if text and text in seen:
            yield Problem(("keys", at, "key"), f"the same key as keys.{seen[text]}")
        seen.setdefault(text, at)
    if not _loopback(values, "server") and not keys_stored and not any(seen):
        message = "an address beyond loopback needs keys: add one under `keys` or with `headgate keys create`"
        yield Problem(("server", "host"), message)
    if not _loopback(values, "admin") and not below(values, ("admin", "token")):
        yield Problem(("admin", "host"), "an address beyond loopback needs `admin.token`")
    server_port, admin_port = below(values, ("server", "port")), below(values, ("admin", "port"))
    server_port = Server().port if server_port is None else server_port
    admin_port = Admin().port if admin_port is None else admin_port
    if server_port == admin_port != 0:
        yield Problem(("admin", "port"), "the same port as server.port")


def _loopback(values: dict[str, Value], block: str) -> bool:
    host = below(values, (block, "host"))
    return not isinstance(host, str) or is_loopback(host)  # absent: the default; of a wrong type: the schema refuses it


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _blocks(values: Value, pattern: Path, path: Path = ()) -> list[tuple[Path, dict[str, Value]]]:
    """Every mapping at a place; a list, so that the caller may take things out."""
    if not pattern:
        return [(path, values)] if isinstance(values, dict) else []
    if pattern[0] != "*":
        return _blocks(below(values, pattern[:1]), pattern[1:], (*path, pattern[0]))
    parts: Iterator[str | int] = iter(values) if isinstance(values, dict) else iter(range(len(_list(values))))
    return [found for part in parts for found in _blocks(below(values, (part,)), pattern[1:], (*path, part))]


def _remove(values: dict[str, Value], path: Path) -> None:
    around = below(values, path[:-1])
    if isinstance(around, dict):
        del around[str(path[-1])]


def _items(values: Value, block: str) -> list[tuple[str, Value]]:
    found = below(values, (block,))
    return list(found.items()) if isinstance(found, dict) else []


def _names(values: Value, block: str) -> frozenset[str]:
    return frozenset(name for name, _ in _items(values, block))


def _list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []
