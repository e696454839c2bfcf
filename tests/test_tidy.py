"""What a reader may rely on without reading: sizes, where exceptions end, what a module may keep, what ships.

A list of exceptions here may only get shorter. Who may import whom stands in `test_layers`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import OURS, ROOT, functions, last_name, nodes, sources

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50


CATCH_ALL = {
    "proxy/counting.py": 1,
    "proxy/surfaces/admin_guard.py": 1,
    "proxy/surfaces/connection.py": 1,
    "proxy/finish.py": 1,
    "proxy/pipeline.py": 1,
    "proxy/state/ledger.py": 1,
    "proxy/state/ledger_answer.py": 1,
    "proxy/providers/transport.py": 1,
}
LONG_FILES: dict[str, int] = {}  # present sizes; they may only shrink
LONG_FUNCTIONS: dict[str, int] = {}

DECLARATIONS = "declares protocols or values and does nothing"
FLOW = "tests/flow"
COVERED = {  # source -> (where its tests are, why not in a file of its own)
    "proxy/types.py": (FLOW, DECLARATIONS),
    "proxy/snapshot.py": (FLOW, DECLARATIONS),
    "proxy/observed.py": (FLOW, DECLARATIONS),
    "proxy/holds.py": ("tests/policies/test_accounts.py", DECLARATIONS),
    "proxy/reuse.py": ("tests/proxy/surfaces/test_controls.py", DECLARATIONS),
    "proxy/cache_hints.py": ("tests/policies/test_prompt_cache.py", DECLARATIONS),
    "proxy/dialects/base.py": ("tests/proxy/dialects", DECLARATIONS),
    "proxy/providers/base.py": ("tests/proxy/providers", DECLARATIONS),
    "proxy/pipeline.py": (FLOW, "only makes sense around the whole way of a call"),
    "proxy/execution/flights.py": ("tests/proxy/execution/test_flight.py", "calls that run, and who joins them"),
    "proxy/caching/desk.py": ("tests/flow/test_known_answers.py", "known answers, from socket to socket"),
    "proxy/delivery.py": ("tests/flow/test_replay.py", "replies that go out, from socket to socket"),
    "proxy/renewal.py": ("tests/flow/test_exact_cache.py", "stale answers, from socket to socket"),
    "proxy/remembering.py": ("tests/proxy/test_app.py", "the caches of a process, connected"),
    "proxy/telemetry/tally.py": ("tests/proxy/telemetry/test_live.py", "what the live figures are added up in"),
    "proxy/parts.py": (FLOW, DECLARATIONS),
    "proxy/execution/asking.py": ("tests/proxy/test_side_calls.py", DECLARATIONS),
    "proxy/batching.py": ("tests/proxy/test_app.py", "the batches of a gate that runs"),
    "proxy/batches/work.py": ("tests/proxy/batches/test_keeper.py", "batches from their first status to their last"),
    "proxy/batches/writing.py": ("tests/proxy/batches/test_keeper.py", "files of batches that have ended"),
    "proxy/state/batch_report.py": ("tests/proxy/desks/test_batches.py", DECLARATIONS),
    "proxy/telemetry/catalog_batches.py": ("tests/proxy/telemetry/test_catalog.py", DECLARATIONS),
    "proxy/state/content_report.py": ("tests/proxy/content/test_scribe.py", DECLARATIONS),
    "proxy/recording.py": ("tests/test_canary_sinks.py", "spans and words of a gate that runs"),
    "proxy/state/cache_report.py": ("tests/proxy/desks/test_caches.py", DECLARATIONS),
    "proxy/telemetry/live_report.py": ("tests/proxy/telemetry/test_live.py", DECLARATIONS),
    "proxy/telemetry/family.py": ("tests/proxy/telemetry/test_catalog.py", DECLARATIONS),
    "proxy/telemetry/catalog_known.py": ("tests/proxy/telemetry/test_catalog.py", DECLARATIONS),
    "proxy/relay.py": ("tests/flow/test_stream.py", "a stream from socket to socket"),
    "proxy/survival.py": ("tests/flow/test_survival.py", "streams that die, from socket to socket"),
    "proxy/joining.py": ("tests/flow/test_joins.py", "two clients and one upstream call, from socket to socket"),
    "proxy/draining.py": ("tests/flow/test_client_gone.py", "replies that are read on after their client has left"),
    "proxy/telling.py": ("tests/flow/test_refusals.py", "errors as clients hear them"),
    "proxy/execution/holding.py": ("tests/flow/test_hold.py", "early deaths, from socket to socket"),
    "proxy/finish.py": ("tests/sim/test_cancellation.py", "the end of every path"),
    "proxy/headers.py": ("tests/flow/test_plain.py", "what a reply says of its call"),
    "proxy/execution/cascade.py": ("tests/flow/test_cascade.py", "rungs, from socket to socket"),
    "proxy/execution/second_look.py": ("tests/flow/test_cascade.py", "samples, judges and verifiers, over sockets"),
    "proxy/telemetry/catalog_cascades.py": ("tests/proxy/telemetry/test_catalog.py", DECLARATIONS),
    "proxy/execution/attempt.py": ("tests/sim/test_cancellation.py", "an exchange and its bill, cancelled anywhere"),
    "proxy/execution/course.py": ("tests/flow/test_retry.py", "what was tried, as the race goes on"),
    "proxy/execution/race.py": ("tests/flow/test_retry.py", "attempts one after another"),
    "proxy/execution/bench.py": ("tests/flow/test_deadlines.py", "values, and where they come from"),
    "proxy/execution/reading.py": ("tests/sim/scenes.py", "every way a reply can go wrong"),
    "proxy/execution/record.py": ("tests/sim/invariants.py", "what is left of a call"),
    "proxy/surfaces/llm.py": ("tests/flow/test_refusals.py", "paths, methods and bodies over sockets"),
    "proxy/surfaces/catalogue.py": ("tests/flow/test_refusals.py", "paths and methods over sockets"),
    "proxy/surfaces/server.py": ("tests/proxy/surfaces/test_connection.py", "all connections together"),
    "proxy/state/store.py": ("tests/proxy/money/test_budgets.py", DECLARATIONS),
    "proxy/assemble.py": ("tests/proxy/test_app.py", "from a configuration to a gate that runs"),
    "proxy/assembly.py": ("tests/proxy/test_app.py", "a configuration in force, and the next one"),
    "proxy/desks/ledger.py": ("tests/proxy/money/test_quoting.py", "the ledger's tools and the quoter, connected"),
    "proxy/state/ledger_report.py": ("tests/proxy/surfaces/test_admin_ledger.py", DECLARATIONS),
    "proxy/state/quote_report.py": ("tests/proxy/money/test_quoting.py", DECLARATIONS),
    "proxy/data_plane.py": ("tests/proxy/test_app.py", "the gate that answers calls"),
    "proxy/money/lease_messages.py": ("tests/proxy/money/test_leases.py", DECLARATIONS),
    "proxy/instruments.py": ("tests/proxy/test_app.py", "the metrics of a gate that runs"),
    "proxy/workers/messages.py": ("tests/workers", DECLARATIONS),
    "proxy/workers/lender.py": ("tests/proxy/money/test_leases.py", "both sides of a lease, with a wire between them"),
    "proxy/workers/slot.py": ("tests/workers", "processes that live, die and are recovered"),
    "proxy/workers/supervisor.py": ("tests/workers", "processes that are started, reloaded, stopped and killed"),
    "proxy/workers/worker.py": ("tests/workers", "a process that serves"),
    "proxy/workers/process.py": ("tests/workers", "a process from its birth on"),
    "proxy/service.py": ("tests/proxy/test_app.py", "the gate as a process"),
    "proxy/serving.py": ("tests/proxy/test_app.py", DECLARATIONS),
    "proxy/watching.py": ("tests/proxy/test_app.py", "reloads of a gate that runs"),
    "proxy/execution/members.py": ("tests/flow/test_quorum.py", "those who are asked together, over sockets"),
    "proxy/execution/stake.py": ("tests/flow/test_debate.py", "what is held, and that it suffices"),
    "proxy/execution/quorum.py": ("tests/flow/test_quorum.py", "votes, over sockets"),
    "proxy/execution/debate.py": ("tests/flow/test_debate.py", "rounds, over sockets"),
    "proxy/state/shared_store.py": ("tests/proxy/state/test_redis_client.py", DECLARATIONS),
    "proxy/telemetry/catalog_shared.py": ("tests/proxy/telemetry/test_catalog.py", DECLARATIONS),
    "proxy/telemetry/catalog_experiments.py": ("tests/proxy/telemetry/test_catalog.py", DECLARATIONS),
    "proxy/telemetry/catalog_load.py": ("tests/proxy/telemetry/test_catalog.py", DECLARATIONS),
    "proxy/telemetry/catalog_votes.py": ("tests/proxy/telemetry/test_catalog.py", DECLARATIONS),
    "policies/semantic/lookup.py": ("tests/flow/test_semantic_cache.py", DECLARATIONS),
    "policies/semantic/rules.py": ("tests/policies/semantic/test_eligible.py", DECLARATIONS),
    "proxy/caching/embedding.py": ("tests/flow/test_semantic_cache.py", "one side call, and all that it may answer"),
    "proxy/caching/lessons.py": ("tests/flow/test_semantic_cache.py", "what calls that were made all the same teach"),
    "proxy/caching/semantic.py": ("tests/flow/test_semantic_cache.py", "from a question to an answer, over sockets"),
    "proxy/caching/semantic_parts.py": ("tests/flow/test_semantic_cache.py", DECLARATIONS),
    "loadtests/upstream/bill.py": ("tests/loadtests/upstream/test_script.py", "what each verb costs"),
    "loadtests/upstream/canned.py": ("tests/loadtests/test_upstream.py", "what goes over the wire"),
    "loadtests/upstream/connection.py": ("tests/loadtests/test_upstream.py", "what goes over the wire"),
    "loadtests/upstream/forms.py": ("tests/loadtests/test_upstream.py", "what goes over the wire"),
    "loadtests/upstream/request.py": ("tests/loadtests/upstream/test_scenario.py", "what a rule can ask for"),
    "loadtests/upstream/stage.py": ("tests/loadtests/upstream/test_scenario.py", "which script plays"),
    "loadtests/upstream/wire.py": ("tests/loadtests/upstream/test_script.py", "what each verb does on it"),
    "loadtests/load.py": ("tests/real/test_load.py", "the command"),
    "loadtests/locustfile.py": ("tests/real/test_load.py", "what Locust loads"),
    "loadtests/load/cli.py": ("tests/real/test_load.py", "the command"),
    "loadtests/load/scenarios.py": ("tests/loadtests/load/test_verdicts.py", "every scenario has verdicts"),
    "loadtests/load/shapes.py": ("tests/real/test_load.py", "needs Locust"),
    "loadtests/load/stage.py": ("tests/real/test_load.py", "processes"),
    "loadtests/load/users.py": ("tests/real/test_load.py", "needs Locust"),
    "loadtests/tail/laws.py": ("tests/loadtests/tail/test_upstreams.py", "upstreams that follow them"),
    "loadtests/tail/play.py": ("tests/loadtests/tail/test_baselines.py", "baselines that are played"),
    "loadtests/tail/report.py": ("tests/loadtests/tail/test_scenarios.py", "the table of what was measured"),
    "loadtests/tail/traces.py": ("tests/loadtests/tail/test_scenarios.py", "the requests of the scenarios"),
}
WITHOUT_TEST: frozenset[str] = frozenset()  # may only shrink

MAKES_MUTABLE = frozenset({"dict", "list", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"})
MUTATORS = frozenset(
    {"append", "add", "update", "clear", "pop", "popitem", "extend", "insert", "remove", "discard", "setdefault"}
    | {"sort", "reverse", "appendleft", "popleft"}
)
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
PLACES = re.compile(
    r"/(?:work|root|home)/[a-z]|/Users/[a-z]|\b(?:pypi|npmjs|ghcr|quay|docker)\.(?:org|com|io)\b|files\.pythonhosted"
)
NO_TEXT = (".xz", ".png", ".ico", ".pem")


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git work tree")
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


# --- habits ----------------------------------------------------------------------------------------------------------


def test_tasks_start_in_one_place() -> None:
    words = ("create_task", "ensure_future")
    starters = {
        path
        for path in sources()
        if not path.startswith("loadtests/")
        for node in nodes(path)
        if isinstance(node, ast.Attribute | ast.Name) and last_name(node) in words
    }
    assert starters == {"proxy/tasks.py"}


def test_everything_is_caught_in_a_few_known_places_only() -> None:
    caught: dict[str, int] = {}
    for path in sources():
        for node in nodes(path):
            if isinstance(node, ast.ExceptHandler):
                named = "BaseException" if node.type is None else ast.unparse(node.type)
                if re.search(r"\b(?:Base)?Exception\b", named) and not path.startswith("loadtests/"):
                    caught[path] = caught.get(path, 0) + 1
    assert caught == CATCH_ALL


def test_no_module_keeps_state() -> None:
    """A list, dict or set at the top of a module is a constant: in capitals, and nobody changes it."""
    constants, wrong = set(), []
    for path, tree in sources().items():
        for node in tree.body if not path.startswith("loadtests/") else ():
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _mutable(node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in map(ast.unparse, targets):
                    constants.add(name)
                    if not re.fullmatch(r"_?[A-Z][A-Z0-9_]*", name) and name != "__all__":
                        wrong.append(f"{path}: {name}")
    for path in sources():
        wrong += [f"{path}:{line} changes {name}" for line, name in _changes(path) if name in constants]
        wrong += [f"{path}:{node.lineno}: global" for node in nodes(path) if isinstance(node, ast.Global)]
    assert not wrong, "\n".join(wrong)


def _mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp):
        return True
    return isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in MAKES_MUTABLE


def _changes(path: str) -> Iterator[tuple[int, str]]:
    """(line, last part of the name) of everything that is changed in place."""
    for node in nodes(path):
        changed: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            changed = [node.func.value]
        elif isinstance(node, ast.Assign | ast.Delete):
            changed = [target.value for target in node.targets if isinstance(target, ast.Subscript)]
        elif isinstance(node, ast.AugAssign):
            changed = [node.target.value if isinstance(node.target, ast.Subscript) else node.target]
        for target in changed:
            yield node.lineno, last_name(target)


def test_files_and_functions_are_short() -> None:
    files = {path: len((ROOT / path).read_text().splitlines()) for path in sources()}
    long_files = {path: lines for path, lines in files.items() if lines > FILE_LINES_MAX}
    sizes = {
        f"{path} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in sources()
        for function in functions(path)
    }
    long_functions = {name: lines for name, lines in sizes.items() if lines > FUNCTION_LINES_MAX}
    for found, allowed in ((long_files, LONG_FILES), (long_functions, LONG_FUNCTIONS)):
        assert found.keys() <= allowed.keys(), f"too long: {found}"
        assert all(found[name] <= allowed[name] for name in found), f"grown: {found}"
        assert allowed.keys() <= found.keys(), f"short by now, take them off the list: {allowed.keys() - found.keys()}"


def test_every_source_file_has_its_test() -> None:
    missing = {path for path in sources() if not (ROOT / _test_of(path)).exists()}
    missing = {path for path in missing if not path.startswith("loadtests/bench/") and not path.endswith("__init__.py")}
    assert missing - COVERED.keys() <= WITHOUT_TEST, f"no test: {sorted(missing - COVERED.keys() - WITHOUT_TEST)}"
    assert all((ROOT / where).exists() for where, _ in COVERED.values())
    stale = (COVERED.keys() | WITHOUT_TEST) - missing
    assert not stale, f"these have a test of their own by now, or are gone: {sorted(stale)}"


def _test_of(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"tests/{folder}/test_{name}"


def test_no_file_is_without_a_test() -> None:
    assert not WITHOUT_TEST


def test_nothing_is_left_for_later_and_no_file_names_a_machine_or_a_registry() -> None:
    wrong = []
    for name in tracked():
        if name.endswith(NO_TEXT):
            continue
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1):
            if UNFINISHED.search(line) or PLACES.search(line):
                wrong.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)


# --- what ships ------------------------------------------------------------------------------------------------------


def in_wheel(folder: Path) -> set[str]:
    """The files of a freshly built wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return {name for name in opened.namelist() if ".dist-info/" not in name}


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_their_data_and_nothing_else(tmp_path: Path) -> None:
    names = in_wheel(tmp_path)
    files = (file for top in OURS[:3] for file in (ROOT / top).rglob("*") if file.is_file())
    expected = {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
    expected |= {f"loadtests/replay/{name}.py" for name in ("__init__", "recorded", "world")}  # for `headgate simulate`
    tools = {name for name in expected if re.search(r"pricing/generate_\w+\.py$", name)}
    assert {"pricing/prices.json", "pricing/vocab/o200k_base.xz", "proxy/app.py"} <= names
    assert names - tools == expected - tools


@pytest.mark.slow
def test_the_wheel_leaves_out_what_only_developers_run(tmp_path: Path) -> None:
    assert not [name for name in in_wheel(tmp_path) if re.search(r"pricing/generate_\w+\.py$", name)]
