"""The docs name everything that users depend on, and nothing that does not exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs import generate
from proxy.cli.reports import DIMENSIONS
from proxy.execution.reading import PASSED_NAMES
from proxy.providers.engines import ENGINES
from proxy.providers.limit_headers import PREFIXES
from proxy.state import ledger_queries
from proxy.surfaces import catalogue
from proxy.surfaces.admin import KeyRequest
from proxy.telemetry.line import Line, Try
from tests.doc_names import (
    BODIES,
    ROOT,
    admin_routes,
    batch_routes,
    columns,
    known_words,
    reply_headers,
    request_headers,
)

PAGES = {page.name: page.read_text() for page in generate.pages() if page.name != "benchmarks.md"}
FRONT = {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "DESIGN.md", "CHANGELOG.md")}
EVERY_PAGE = pytest.mark.parametrize("page", PAGES)

FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")  # what looks like a key, a code or a field

# Names that are not ours: fields of OpenAI's API, Prometheus, MetaGPT's configuration, parameters of SDKs.
FOREIGN = frozenset(
    {"stream_options", "include_usage", "session_id", "prompt_cache_key", "model_info", "api_type", "finish_reason"}
    | {"cached_tokens", "previous_response_id", "web_search_options", "prompt_cache_retention", "cache_control"}
    | {"max_completion_tokens", "max_output_tokens", "service_tier", "max_tokens"}
    | {"continue_final_message", "add_generation_prompt", "min_tokens", "response_format", "tool_calls", "tool_choice"}
    | {"num_running_reqs", "num_queue_reqs", "num_requests_running", "gen_ai", "conversation_id", "hash_ids"}
    | {"custom_id", "input_file_id", "output_expires_after", "expires_after", "request_id"}
    | {"cache_salt", "lora_path", "adapter_id", "chat_template", "chat_template_kwargs", "reasoning_effort"}
)
# Of the data folder; they read like keys of the configuration.
FILES = frozenset({"caches.db", "keys.json", "keys.lock", "ledger.db", "ledger.db-wal"})
# A whole configuration, into which a fragment is put.
BASE = """
providers: {simulated: {kind: simulated}, openai: {kind: openai, api_key: k}}
models: {small: simulated/sim-small}
"""


def prose(page: str) -> str:
    return FENCE.sub("", PAGES[page])


def everything() -> str:
    return "\n".join(PAGES.values())


def spans(page: str) -> set[str]:
    return {span.replace("\\|", "|") for span in SPAN.findall(prose(page))}


def fenced(*languages: str) -> Iterator[tuple[str, str, str]]:
    """(page, language, text) of the blocks whose first words are one of `languages`."""
    for page, text in (PAGES | FRONT).items():
        for language, block in FENCE.findall(text):
            if language.strip() in languages:
                yield page, language.strip(), block


# --- what exists is named ------------------------------------------------------------------------------------------


def test_every_field_of_the_configuration_is_documented() -> None:
    shown = PAGES["configuration.md"]
    for field in generate.config_fields():
        assert f"`{field.path}`" in shown, field.path


def test_every_error_code_is_documented_with_what_to_do() -> None:
    by_hand = PAGES["errors.md"].partition(generate.END)[2]
    for code in generate.CODES:
        row = next((line for line in by_hand.splitlines() if line.startswith(f"| `{code}` |")), None)
        assert row is not None, code


def test_every_metric_is_documented() -> None:
    for family in generate.FAMILIES:
        assert f"| `{generate.PREFIX}{family.name}` |" in PAGES["metrics.md"], family.name


def test_every_command_and_option_is_documented() -> None:
    shown = PAGES["commands.md"]
    for words, parser in generate.commands().items():
        section = shown.partition(f"### `{words}`\n")[2].partition("\n### ")[0]
        assert section, words
        for option in generate.options(parser):
            word = str(option.metavar or option.dest.upper()).strip("[]")
            name = option.option_strings[-1] if option.option_strings else word
            assert re.search(rf"\| `\[?{re.escape(name)}\b", section), (words, name)


def test_every_header_is_documented() -> None:
    shown = {span.lower() for span in spans("headers.md")}
    assert len(request_headers()) > 25
    assert len(reply_headers()) > 10
    for name in request_headers() | reply_headers():
        assert name.lower() in shown, name


def test_every_path_is_documented() -> None:
    shown = PAGES["api.md"]
    for path in generate.ENDPOINTS:
        assert f"`POST /v1{path}`" in shown
        assert f"`{path}`" in shown
    for path in catalogue.HEALTH_PATHS:
        assert f"{path}`" in shown
    assert len(admin_routes()) > 10
    for route in batch_routes():
        assert f"`{route.replace('{id}', 'ID')}`" in shown, route
    for route in admin_routes():
        assert f"`{route}`" in shown, route


def test_every_parameter_and_body_field_of_the_admin_listener_is_documented() -> None:
    named = {*DIMENSIONS, *ledger_queries.FILTERS, *KeyRequest.__struct_fields__, "since", "until", "limit", "before"}
    named |= {field for body in BODIES for field in body.__struct_fields__}
    assert named <= spans("api.md"), named - spans("api.md")


def test_every_field_of_the_log_is_documented() -> None:
    shown = PAGES["operations.md"].partition("## Log\n")[2].partition("\n## ")[0]
    for name in (*Line.__struct_fields__, *Try.__struct_fields__):
        assert f"`{name}`" in shown, name


def test_every_engine_and_column_of_the_ledger_is_documented() -> None:
    engines = {name for name in ENGINES if name != "simulated"}
    assert engines <= spans("configuration.md")
    for column in columns() - {"seq", "call", "position"}:
        assert f"`{column}`" in PAGES["ledger.md"], column


# --- what is named exists ------------------------------------------------------------------------------------------


@EVERY_PAGE
def test_names_in_the_text_exist(page: str) -> None:
    known = known_words()
    for span in spans(page):
        for word in re.split(r"[\s,=:.{}\[\]()\"'/<>|]+", span) if not span.startswith("http") else ():
            if WORD.fullmatch(word) and not word.startswith((generate.PREFIX, "litellm")) and "(" not in span:
                assert word in known | FOREIGN, (page, span, word)


@EVERY_PAGE
def test_keys_of_the_configuration_in_the_text_exist(page: str) -> None:
    patterns = [re.compile(re.escape(field.path).replace(r"\*", r"[^.]+") + "$") for field in generate.config_fields()]
    blocks = {field.path.split(".")[0] for field in generate.config_fields()}
    for span in spans(page):
        if re.fullmatch(r"[a-z_]+(\.[a-z0-9_*-]+)+", span) and span.split(".")[0] in blocks and span not in FILES:
            assert any(pattern.match(span) for pattern in patterns), (page, span)


@EVERY_PAGE
def test_metrics_in_the_text_exist(page: str) -> None:
    names = {generate.PREFIX + family.name for family in generate.FAMILIES}
    parts = {
        f"{generate.PREFIX}{f.name}_{part}"
        for f in generate.FAMILIES
        if f.ladder
        for part in ("bucket", "sum", "count")
    }
    for name in re.findall(rf"\b{generate.PREFIX}[a-z_]+", PAGES[page]):
        assert name in names | parts, (page, name)


@EVERY_PAGE
def test_headers_in_the_text_exist(page: str) -> None:
    known = {name.lower() for name in (*request_headers(), *reply_headers(), *PASSED_NAMES, *PREFIXES)}
    text = re.sub(r"https?://\S+", "", PAGES[page]).lower()
    for name in re.findall(r"(?<![\w/-])x-[a-z-]+", text):
        assert name in known, (page, name)


@EVERY_PAGE
def test_paths_in_the_text_exist(page: str) -> None:
    known = admin_routes() | {f"POST {prefix}{path}" for path in generate.ENDPOINTS for prefix in ("", "/v1")}
    known |= batch_routes()
    known |= {f"GET {path}" for path in (*catalogue.HEALTH_PATHS, "/v1/models", "/v1/models/NAME")}
    for span in spans(page):
        if re.match(r"(GET|POST|PUT|PATCH|DELETE) /", span):
            assert span.replace("/ID", "/{id}") in known, (page, span)


def test_codes_in_the_tables_of_errors_exist() -> None:
    for code in re.findall(r"^\| `([a-z_]+)` \|", PAGES["errors.md"], re.MULTILINE):
        assert code in generate.CODES


def command_lines() -> Iterator[tuple[str, str]]:
    """Every line that runs the gate's command: in blocks of any kind, and spans."""
    for page, text in (PAGES | FRONT).items():
        for _, block in FENCE.findall(text):
            for line in block.splitlines():
                typed = line.removeprefix("$ ").removeprefix(".venv/bin/")
                if typed.startswith("headgate "):
                    yield page, typed.partition(" # ")[0].partition(" | ")[0]
        for span in SPAN.findall(FENCE.sub("", text)):
            if span.startswith("headgate ") and "|" not in span:
                yield page, span


def parses(line: str) -> bool:
    words = shlex.split(line)[1:]
    asked = next((word for word in words if not word.startswith("-")), "")
    try:
        parsed = generate.parser_for(asked).parse_args(words)
    except SystemExit as ended:
        return ended.code == 0
    return parsed is not None


def test_every_command_line_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    lines = sorted(set(command_lines()))
    assert len(lines) > 15
    mentioned = {*generate.commands(), "headgate COMMAND --help"}  # a command's name alone may stand in a sentence
    for page, line in lines:
        assert line in mentioned or parses(line), (page, line, capsys.readouterr().err)


def test_a_wrong_command_line_would_be_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    assert not parses("headgate spend --bye agent")
    assert not parses("headgate serv")


# --- the rest ------------------------------------------------------------------------------------------------------


@EVERY_PAGE
def test_generated_parts_are_current(page: str) -> None:
    assert generate.renewed(PAGES[page]) == PAGES[page], "run: python docs/generate.py"


def test_every_part_is_in_a_page() -> None:
    for name in generate.PARTS:
        assert everything().count(generate.BEGIN.format(name)) == 1


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*(f"docs/{name}" for name in PAGES), *FRONT])
def test_relative_links_resolve(page: str) -> None:
    file = ROOT / page
    for link in LINK.findall(FENCE.sub("", file.read_text())):
        if "://" in link:
            continue
        path, _, anchor = unquote(link).partition("#")
        target = file.parent / path if path else file
        assert target.exists(), (page, link)
        if anchor:
            assert anchor in anchors(target.read_text()), (page, link)


def test_every_yaml_block_says_what_it_is() -> None:
    for page, text in PAGES.items():
        for language, _ in FENCE.findall(text):
            kind = language.strip()
            assert not kind.startswith("yaml") or kind in ("yaml configuration", "yaml fragment", "yaml prometheus"), (
                page
            )


CONFIGURATIONS = list(fenced("yaml configuration", "yaml fragment"))


@pytest.mark.parametrize(("page", "kind", "block"), CONFIGURATIONS, ids=range(len(CONFIGURATIONS)))
def test_configurations_are_valid(page: str, kind: str, block: str, tmp_path: Path) -> None:
    if kind == "yaml fragment":
        given = re.findall(r"^([a-z_]+):", block, re.MULTILINE)
        block += "\n".join(line for line in BASE.splitlines() if line.partition(":")[0] not in given)
        if "providers" in given:  # the base's model refers to a provider of the base
            name = re.findall(r"^  ([a-z-]+):", block, re.MULTILINE)[0]
            block = block.replace("simulated/sim-small", f"{name}/any")
    file = tmp_path / "headgate.yaml"
    file.write_text(block)
    names = re.findall(r"\$\{([A-Z_]+)\}", block)
    generate.load(file, {name: f"value-of-{name}" for name in names})


def test_the_readmes_program_is_the_example() -> None:
    blocks = {page: block for page, _, block in fenced("python") if "import OpenAI" in block}
    assert blocks.pop("batches.md") == (ROOT / "examples/batch.py").read_text()
    assert set(blocks.values()) <= {(ROOT / "examples/openai_sdk.py").read_text()}
