"""Who may import whom: the table of layers, and the rules that go with it.

`LAYERS` is the table, from the bottom up.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from msgspec import Struct

from tests.sources import OURS, ROOT, functions, imports, is_in, last_name, modules, nodes, sources


class Layer(Struct, frozen=True):
    """`members` are packages or modules; they may import each other, the layers named in `below`, and `libraries`.
    None: any library."""

    name: str
    members: tuple[str, ...]
    below: tuple[str, ...] = ()
    libraries: tuple[str, ...] | None = None


LAYERS = (
    Layer(
        "nouns",
        (
            *("proxy.types", "proxy.errors", "proxy.pressure", "proxy.observed", "proxy.cache_hints", "proxy.holds"),
            *("proxy.reuse", "proxy.tenancy"),
        ),
        libraries=("msgspec",),
    ),
    Layer("pure", ("policies", "pricing", "proxy.dialects"), ("nouns",), ("msgspec",)),
    Layer(
        "foundations",
        (
            *("proxy.clock", "proxy.secret", "proxy.tasks", "proxy.alarm", "proxy.counting", "proxy.memory"),
            "proxy.gatherer",
        ),
        (),
        ("pydantic_core",),
    ),
    Layer(
        "ports",
        ("proxy.providers", "proxy.state", "proxy.telemetry"),
        ("nouns", "pure", "foundations"),
        ("msgspec", "httptools", "aiohappyeyeballs"),
    ),
    Layer(
        "execution",
        (
            *("proxy.execution", "proxy.caching", "proxy.content", "proxy.snapshot", "proxy.money", "proxy.runs"),
            "proxy.shared",
        ),
        ("nouns", "pure", "foundations", "ports"),
        ("msgspec", "cachetools"),
    ),
    Layer(
        "pipeline",
        (
            *("proxy.pipeline", "proxy.relay", "proxy.survival", "proxy.finish", "proxy.headers", "proxy.last_word"),
            *("proxy.joining", "proxy.draining", "proxy.telling", "proxy.parts", "proxy.delivery", "proxy.renewal"),
            *("proxy.side_calls", "proxy.fail_soft", "proxy.batches"),
        ),
        ("nouns", "pure", "foundations", "ports", "execution"),
        ("msgspec",),
    ),
    Layer(
        "surfaces",
        ("proxy.surfaces", "proxy.listeners"),
        ("nouns", "pure", "foundations", "execution", "pipeline"),
        ("msgspec", "httptools"),
    ),
    Layer(
        "configuration",
        ("proxy.config", "proxy.targets", "proxy.assemble", "proxy.assembly"),
        ("nouns", "pure", "foundations", "ports", "execution"),
    ),
    Layer(
        "commands",
        ("proxy.cli", "proxy.banner", "proxy.watching", "proxy.budget_news", "proxy.__main__"),
        ("nouns", "pure", "foundations", "ports", "configuration"),
    ),
    Layer(
        "composition",
        (
            *("proxy.app", "proxy.data_plane", "proxy.service", "proxy.serving", "proxy.workers", "proxy.demo"),
            *("proxy.desks", "proxy.batching", "proxy.cascading", "proxy.pacing", "proxy.recording", "proxy.voting"),
            *("proxy.remembering", "proxy.health", "proxy.instruments", "proxy.standing", "proxy.watchdog"),
            "proxy.sharing",
        ),
        ("nouns", "pure", "foundations", "ports", "execution", "pipeline", "surfaces", "configuration", "commands"),
    ),
    Layer("load tests", ("loadtests",)),
    Layer(
        "simulation",
        ("proxy.simulate",),
        (
            *(
                "nouns",
                "pure",
                "foundations",
                "ports",
                "execution",
                "pipeline",
                "surfaces",
                "configuration",
                "commands",
            ),
            *("composition", "load tests"),
        ),
    ),
)

# Within the layer "pure": who may import whom.
PURE: dict[str, tuple[str, ...]] = {
    "policies": ("policies", "pricing"),
    "pricing": ("pricing",),
    "proxy.dialects": ("proxy.dialects", "pricing"),
}
PORTS_KNOW_NO = ("policies",)
# No clock, no chance, no I/O, no logging where decisions are made.
IMPURE = ("asyncio", "aiohttp", "time", "datetime", "random", "uuid", "secrets", "os", "logging", "prometheus_client")
LIBRARIES_OF = {  # loaded by name: when an upstream reports nothing; when a semantic cache, or a store, is configured
    "pricing.vocabulary": ("tiktoken",),
    "proxy.caching.vectors": ("numpy",),
    "proxy.caching.graph": ("numpy", "usearch"),
    "proxy.state.redis_client": ("redis",),
    "proxy.execution.forms": ("jsonschema", "referencing", "regex"),
    "proxy.execution.patterns": ("regex",),
}
WITHIN = {  # pinned by it, to the digit; brought by it, and part of what it is asked with
    "pydantic_core": ["pydantic"],
    "referencing": ["jsonschema"],
}
TOOLS = ("pricing.generate_names", "pricing.generate_prices", "pricing.generate_rates", "pricing.generate_vocab")

# Calendars are arithmetic on an instant that is given; nobody there may ask what the time is.
CALENDAR = frozenset({"policies/windows.py"})
ASKS_THE_TIME = frozenset({"now", "today", "utcnow", "time", "monotonic", "localtime"})
TIME_AND_CHANCE = frozenset({"time", "datetime", "random", "uuid", "secrets"})
LOADED_BY_NAME = {
    "proxy/counting.py": 1,
    "proxy/cli/by_name.py": 1,
    "proxy/caching/library.py": 3,
    "proxy/cascading.py": 1,
    "proxy/sharing.py": 1,
    "proxy/state/shared_store.py": 1,
    "proxy/execution/patterns.py": 1,
    "pricing/generate_prices.py": 1,
}


def layer_of(module: str) -> Layer:
    found = [layer for layer in LAYERS if is_in(module, layer.members)]
    assert len(found) == 1, f"{module} stands in {len(found)} rows of the table of layers"
    return found[0]


def test_layers_import_downwards_only() -> None:
    wrong = []
    for module, path in modules().items():
        if not path or module == "proxy":
            continue
        layer = layer_of(module)
        for other in imports(path):
            if other.partition(".")[0] in OURS:
                if other not in ("proxy",) and layer_of(other).name not in (layer.name, *layer.below):
                    wrong.append(f"{module} ({layer.name}) imports {other} ({layer_of(other).name})")
            elif not _library_allowed(module, layer, other):
                wrong.append(f"{module} ({layer.name}) imports {other}")
    assert not wrong, "\n".join(wrong)


def _library_allowed(module: str, layer: Layer, library: str) -> bool:
    top = library.partition(".")[0]
    if module in TOOLS or layer.libraries is None or top in sys.stdlib_module_names:
        return True
    return top in (*layer.libraries, *LIBRARIES_OF.get(module, ()))


def test_decisions_know_neither_time_nor_chance_nor_the_world() -> None:
    wrong = []
    for module, path in modules().items():
        package = next((package for package in PURE if is_in(module, (package,))), None)
        if not path or package is None or module in TOOLS:
            continue
        for other in imports(path):
            ours = other.partition(".")[0] in OURS and not is_in(other, layer_of("proxy.types").members)
            if (ours and not is_in(other, PURE[package])) or (is_in(other, IMPURE) and not _may(path, other)):
                wrong.append(f"{module} imports {other}")
    assert not wrong, "\n".join(wrong)


def _may(path: str, impure: str) -> bool:
    return _only_names_random(path) or (path in CALENDAR and impure == "datetime")


def _only_names_random(path: str) -> bool:
    """Whether `Random` is a type here and never made."""
    calls = [node.func for node in nodes(path) if isinstance(node, ast.Call)]
    made = any(isinstance(called, ast.Name) and called.id == "Random" for called in calls)
    impure = {name for name in imports(path) if is_in(name, IMPURE)}
    return impure <= {"random"} and not made and "from random import Random" in (ROOT / path).read_text()


def test_ports_know_no_policies() -> None:
    for module, path in modules().items():
        if path and is_in(module, ("proxy.providers", "proxy.state", "proxy.telemetry")):
            assert not any(is_in(other, PORTS_KNOW_NO) for other in imports(path)), path


def test_what_runs_imports_only_what_its_installation_brings() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {_distribution(requirement) for requirement in project["dependencies"]}
    extras = {_distribution(each) for extra in project["optional-dependencies"].values() for each in extra}
    brought_by = {**packages_distributions(), **WITHIN}
    for module, path in modules().items():
        if path and module not in TOOLS and not is_in(module, ("loadtests",)):
            foreign = {other.partition(".")[0] for other in imports(path)} - {*OURS, *sys.stdlib_module_names}
            allowed = declared | extras if module in LIBRARIES_OF else declared
            assert all(allowed & {_distribution(name) for name in brought_by[top]} for top in foreign), (path, foreign)


def _distribution(requirement: str) -> str:
    """One spelling of its name."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=;]", requirement)[0]).lower()


def test_nobody_imports_the_composition_root_but_what_runs_it() -> None:
    importers = {path for path in sources() if any(is_in(other, ("proxy.app",)) for other in imports(path))}
    assert all(path.startswith("proxy/demo/") or path == "proxy/service.py" for path in importers), importers


def test_there_is_no_import_cycle() -> None:
    graph = {module: {o for o in imports(path) if o in modules()} for module, path in modules().items() if path}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_imports_stand_at_the_top() -> None:
    wrong, by_name = [], {}
    for path in sources():
        indented = {node for node in nodes(path) if isinstance(node, ast.Import | ast.ImportFrom) and node.col_offset}
        for function in functions(path) if indented else ():
            wrong += [f"{path}:{node.lineno}" for node in ast.walk(function) if node in indented]
        calls = [node.func for node in nodes(path) if isinstance(node, ast.Call)]
        count = sum(last_name(called).endswith(("import_module", "__import__")) for called in calls)
        if count:
            by_name[path] = count
    assert not wrong
    assert by_name == LOADED_BY_NAME


def test_only_the_clock_names_time_and_chance() -> None:
    for path in sources():
        if path.startswith("loadtests/") or path == "proxy/clock.py":
            continue
        named = {name.partition(".")[0] for name in imports(path)} & TIME_AND_CHANCE
        if path in CALENDAR and named == {"datetime"}:
            named = {node.attr for node in nodes(path) if isinstance(node, ast.Attribute)}
            assert not named & ASKS_THE_TIME, f"{path} asks the time"
            continue
        assert not named or (path.startswith("policies/") and _only_names_random(path)), f"{path} names {named}"
