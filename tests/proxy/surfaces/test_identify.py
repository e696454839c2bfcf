from __future__ import annotations

import json
from hashlib import sha256
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from proxy.dialects.json_body import top_level
from proxy.surfaces.identify import Place, clean, identity, place, presented_key
from proxy.types import Identity, KeyRecord

# As the reference of headers has them, in the order in which they are asked.
RUNS = (
    "x-session-id",
    "x-litellm-trace-id",
    "x-litellm-session-id",
    "x-portkey-trace-id",
    "Helicone-Session-Id",
    "x-claude-code-session-id",
    "thread-id",
    "session-id",
)
AGENTS = (
    "x-litellm-agent-id",
    "x-claude-code-agent-type",
    "Helicone-Session-Name",
    "x-openrouter-title",
    "x-title",
)
PARENTS = ("X-Headgate-Parent-Run", "x-parent-session-id", "x-codex-parent-thread-id")
KEYS = ("x-api-key", "api-key", "x-goog-api-key")
OURS = ("X-Headgate-Agent", "X-Headgate-Run", "X-Headgate-Step", "X-Headgate-Depth", "X-Headgate-Tags")

KEY = KeyRecord(id="k")
NOWHERE = Place("/v1/chat/completions")
LONGEST = "n" * 128


def digest(name: str) -> str:
    return "sha256-" + sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def fit_for_a_row(name: str) -> bool:
    return 0 < len(name) <= len(LONGEST) and name.isprintable() and name == name.strip()


def lower(headers: dict[str, str]) -> dict[str, str]:
    """As the parser hands them on."""
    return {name.lower(): value for name, value in headers.items()}


def who(
    headers: dict[str, str] | None = None,
    body: object = None,
    *,
    key: KeyRecord = KEY,
    where: Place = NOWHERE,
) -> Identity:
    """`body` is what a client would write as JSON, or the JSON itself; None: there is none, as in a form."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = None if body is None else top_level(raw)
    return identity(key, where, lower(headers or {}), fields)


# --- path ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/chat/completions", Place("/v1/chat/completions")),
        ("/", Place("/")),
        ("", Place("")),
        ("/agents", Place("/agents")),
        ("/agentsx/a/v1/models", Place("/agentsx/a/v1/models")),
        ("/v1/agents/a/v1/models", Place("/v1/agents/a/v1/models")),
        ("/AGENTS/a/v1/models", Place("/AGENTS/a/v1/models")),
        ("/agents/a/v1/models", Place("/v1/models", "a")),
        ("/agents/a/runs/r/v1/models", Place("/v1/models", "a", "r")),
        ("/agents/a", Place("/", "a")),
        ("/agents/a/", Place("/", "a")),
        ("/agents/a/runs/r", Place("/", "a", "r")),
        ("/agents/a/runs", Place("/runs", "a")),
        ("/agents/a/runsx/r/v1", Place("/runsx/r/v1", "a")),
        ("/agents/a/agents/b/v1", Place("/agents/b/v1", "a")),
        ("/agents/a/runs/r/runs/s/v1", Place("/runs/s/v1", "a", "r")),
        ("/agents//runs//v1", Place("/v1", "", "")),
        ("/agents/a%20b/runs/c%2Fd/v1", Place("/v1", "a b", "c/d")),
        ("/agents/Z%C3%BCrich/v1", Place("/v1", "Zürich")),
        ("/agents/a%2Fruns%2Fb/v1", Place("/v1", "a/runs/b")),
        ("/agents/%2e%2e/v1", Place("/v1", "..")),
        ("/agents/100%/v1", Place("/v1", "100%")),
        ("/agents/a+b/v1", Place("/v1", "a+b")),
        ("/agents/%2541/v1", Place("/v1", "%41")),  # decoded once
        ("/agents/%ff/v1", Place("/v1", "\ufffd")),
        ("/agents/a/v1/%63hat", Place("/v1/%63hat", "a")),  # the endpoint's own path stays as it was sent
    ],
)
def test_names_stand_in_front_of_the_endpoints_path(path: str, expected: Place) -> None:
    assert place(path) == expected


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(["/", "/v1/chat/completions", "/runs/x"]))
def test_an_escaped_name_comes_back_as_it_was(agent: str, run: str, rest: str) -> None:
    assert place(f"/agents/{quote(agent, safe='')}/runs/{quote(run, safe='')}{rest}") == Place(rest, agent, run)


@given(st.text(st.sampled_from("/agentsru%2F.é\0"), max_size=40).map(lambda rest: "/agents/" + rest))
def test_what_is_left_of_a_path_is_a_path(path: str) -> None:
    assert place(path).path.startswith("/")


# --- key -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ""),
        ({"Authorization": "Bearer sk-1"}, "sk-1"),
        ({"authorization": "bearer sk-1"}, "sk-1"),
        ({"AUTHORIZATION": "BEARER   sk-1 "}, "sk-1"),
        ({"x-api-key": "sk-1"}, "sk-1"),  # Anthropic's SDK
        ({"api-key": "sk-1"}, "sk-1"),  # Azure's
        ({"x-goog-api-key": "sk-1"}, "sk-1"),  # Google's
        ({"X-Api-Key": "sk-1"}, "sk-1"),
        ({"x-api-key": "", "api-key": "sk-2"}, "sk-2"),
        ({"x-goog-api-key": "3", "api-key": "2", "x-api-key": "1"}, "1"),
        ({"x-goog-api-key": "3", "api-key": "2"}, "2"),
        ({"x-api-key": ""}, ""),
        ({"Key": "sk-1", "X-Auth-Token": "sk-1"}, ""),
    ],
)
def test_a_key_is_found_where_each_sdk_puts_it(headers: dict[str, str], expected: str) -> None:
    assert presented_key(lower(headers)) == expected


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic c2s6", "sk-1", "Bearersk-1", "Token sk-1", " Bearer x"]
)
def test_an_authorization_that_holds_no_key_is_not_made_good_by_another_header(value: str) -> None:
    assert presented_key({"authorization": value} | dict.fromkeys(KEYS, "sk-1")) == ""


# --- agent -----------------------------------------------------------------------------------------------------------

AGENT_SOURCES = ("key", "path", "header", "foreign", "body", "none")


@pytest.mark.parametrize("first", range(len(AGENT_SOURCES)), ids=AGENT_SOURCES)
def test_the_agent_is_the_first_of_key_path_header_foreign_body(first: int) -> None:
    """Everything that comes after the first one is there as well, and loses."""
    there = AGENT_SOURCES[first:]
    headers = {"X-Headgate-Agent": "by-header"} if "header" in there else {}
    headers |= {"x-title": "by-foreign"} if "foreign" in there else {}
    found = who(
        headers,
        {"metadata": {"agent": "by-body"}} if "body" in there else {},
        key=KeyRecord(id="k", agent="by-key") if "key" in there else KEY,
        where=Place("/v1/models", "by-path") if "path" in there else NOWHERE,
    )
    expected = AGENT_SOURCES[first]
    assert (found.agent_source, found.agent) == (expected, f"by-{expected}" if expected != "none" else "unattributed")


@pytest.mark.parametrize("first", range(len(AGENTS)), ids=AGENTS)
def test_foreign_agents_are_asked_in_their_order(first: int) -> None:
    headers = {name: f"by {name}" for name in reversed(AGENTS[first:])}
    found = who(headers, {"metadata": {"agent": "by-body"}})
    assert (found.agent_source, found.agent) == ("foreign", f"by {AGENTS[first]}")


@pytest.mark.parametrize("blank", ["", " ", "\t", "\x00\x1f", "\u200b", "\u00a0"])
def test_a_name_with_nothing_in_it_leaves_the_word_to_the_next(blank: str) -> None:
    headers = {"X-Headgate-Agent": blank, AGENTS[0]: blank, AGENTS[1]: "told", "X-Headgate-Run": blank, RUNS[0]: blank}
    found = who(headers, {"session_id": blank, "metadata": {"run": "told"}}, where=Place("/", blank, blank))
    assert (found.agent_source, found.agent) == ("foreign", "told")
    assert (found.run_source, found.run) == ("body", "told")


def test_what_the_key_allows_comes_from_the_key_alone() -> None:
    key = KeyRecord(id="k-1", team="blue", models=("m",))
    found = who({"X-Headgate-Team": "red", "X-Headgate-Key": "k-2"}, {"team": "red", "models": ["x"]}, key=key)
    assert (found.key_id, found.team, found.models) == ("k-1", "blue", ("m",))


# --- run -------------------------------------------------------------------------------------------------------------

RUN_FIELDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("session_id", {"session_id": "by session_id"}),
    ("metadata.run", {"metadata": {"run": "by metadata.run", "session_id": "by metadata.session_id"}}),
    ("metadata.session_id", {"metadata": {"session_id": "by metadata.session_id"}}),
    ("prompt_cache_key", {"prompt_cache_key": "by prompt_cache_key"}),
)
RUN_SOURCES = ("path", "header", "foreign", "body", "none")


@pytest.mark.parametrize("first", range(len(RUN_SOURCES)), ids=RUN_SOURCES)
def test_the_run_is_the_first_of_path_header_foreign_body(first: int) -> None:
    there = RUN_SOURCES[first:]
    headers = {"X-Headgate-Run": "by-header"} if "header" in there else {}
    headers |= {"session-id": "by-foreign"} if "foreign" in there else {}
    found = who(
        headers,
        {"session_id": "by-body"} if "body" in there else {},
        where=Place("/v1/models", run="by-path") if "path" in there else NOWHERE,
    )
    expected = RUN_SOURCES[first]
    assert (found.run_source, found.run) == (expected, f"by-{expected}" if expected != "none" else None)


@pytest.mark.parametrize("first", range(len(RUNS)), ids=RUNS)
def test_foreign_runs_are_asked_in_their_order(first: int) -> None:
    headers = {name: f"by {name}" for name in reversed(RUNS[first:])}
    found = who(headers, {"session_id": "by-body"})
    assert (found.run_source, found.run) == ("foreign", f"by {RUNS[first]}")


@pytest.mark.parametrize("first", range(len(RUN_FIELDS)), ids=[name for name, _ in RUN_FIELDS])
def test_runs_in_a_body_are_asked_in_their_order(first: int) -> None:
    body: dict[str, object] = {}
    for _, fields in reversed(RUN_FIELDS[first:]):
        body |= fields
    found = who({}, body)
    assert (found.run_source, found.run) == ("body", f"by {RUN_FIELDS[first][0]}")


@pytest.mark.parametrize("first", range(len(PARENTS)), ids=PARENTS)
def test_parent_runs_are_asked_in_their_order(first: int) -> None:
    assert who({name: f"by {name}" for name in reversed(PARENTS[first:])}).parent_run == f"by {PARENTS[first]}"
    assert who({}).parent_run is None


@pytest.mark.parametrize("wrong", [1, 1.5, True, None, [], ["a"], {"run": "a"}, 10**40])
def test_body_fields_of_another_type_are_the_upstreams_business(wrong: object) -> None:
    everything = {"session_id": wrong, "prompt_cache_key": wrong}
    for metadata in (wrong if not isinstance(wrong, dict) else [], {"run": wrong, "session_id": wrong, "agent": wrong}):
        found = who({}, everything | {"metadata": metadata})
        assert (found.run, found.run_source) == (None, "none")
        assert (found.agent, found.agent_source) == ("unattributed", "none")
    assert who({}, everything | {"metadata": {"run": wrong, "session_id": "told"}}).run == "told"
    assert who({}, everything | {"metadata": "text"}).run is None


@pytest.mark.parametrize("body", [None, {}, {"metadata": {}}, {"user": "u", "run": "r", "agent": "a"}])
def test_a_body_that_says_nothing_names_nobody(body: object) -> None:
    assert who({}, body) == Identity(key_id="k", agent="unattributed")


def test_names_in_a_body_may_be_escaped() -> None:
    body = rb'{"session_id": "a\u00fc\ud83d\ude00\n", "metadata": {"agent": "\u0000b\/c"}}'
    found = who({}, body)
    assert (found.run, found.agent) == ("aü😀", "b/c")


def test_a_lone_surrogate_in_a_name_is_no_name() -> None:
    assert who({}, rb'{"session_id": "a\ud800", "prompt_cache_key": "told"}').run == "told"


def test_a_lone_surrogate_beside_a_name_does_not_hide_it() -> None:
    assert who({}, rb'{"metadata": {"agent": "told", "note": "\ud800"}}').agent == "told"


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("planner", "planner"),
        ("  two words ", "two words"),
        ("Zürich 東京 🎉", "Zürich 東京 🎉"),
        ("a\x00b\x1b[31mc\x7f\r\nd\te", "ab[31mcde"),
        ("\ta\t", "a"),
        ("a\u200bb\u2028c\u202ed", "abcd"),  # of no width, of a new line, of the other direction
        ("\x00 a \x00", "a"),
        ("a\udcff\ud800b", "ab"),
        ("\x00\x01", None),
        (LONGEST, LONGEST),
        ("ü" * 128, "ü" * 128),
        (LONGEST + "n", digest(LONGEST + "n")),
    ],
)
def test_a_name_is_128_printable_characters_or_a_digest(value: str | None, expected: str | None) -> None:
    assert clean(value) == expected


def test_bytes_that_are_no_text_do_not_keep_a_long_name_from_its_digest() -> None:
    name = clean(LONGEST + "\udcff" + LONGEST) or ""
    assert name.startswith("sha256-") and fit_for_a_row(name)


def test_long_names_that_differ_at_their_end_stay_apart() -> None:
    names = {clean(LONGEST + str(number)) for number in range(100)}
    assert len(names) == 100
    assert {len(name or "") for name in names} == {len("sha256-") + 32}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(" " + LONGEST, LONGEST), ("\0" + LONGEST, LONGEST), (" " * 200, None), ("\0" * 200, None)],
)
def test_the_length_of_a_name_is_that_of_what_is_left_of_it(value: str, expected: str | None) -> None:
    assert clean(value) == expected


def test_every_name_is_cleaned_wherever_it_is_said() -> None:
    dirty, long = "a\x1b\x00b", LONGEST + "n"
    for name in ("X-Headgate-Agent", *AGENTS):
        assert (who({name: dirty}).agent, who({name: long}).agent) == ("ab", digest(long))
    for name in ("X-Headgate-Run", *RUNS):
        assert (who({name: dirty}).run, who({name: long}).run) == ("ab", digest(long))
    for name in PARENTS:
        assert (who({name: dirty}).parent_run, who({name: long}).parent_run) == ("ab", digest(long))
    there = who(where=Place("/", dirty, long))
    assert (there.agent, there.run) == ("ab", digest(long))
    for body, expected in ((dirty, "ab"), (long, digest(long))):
        found = who({}, {"metadata": {"agent": body, "run": body}})
        assert (found.agent, found.run) == (expected, expected)
        for field in ("session_id", "prompt_cache_key"):
            assert who({}, {field: body}).run == expected


# --- step, depth, tags -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("7", 7),
        ("007", 7),
        ("999999999", 999_999_999),
        ("1000000000", None),
        ("9" * 5000, None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1e3", None),
        ("1_000", None),
        ("0x10", None),
        (" 1", None),
        ("", None),
        ("٣", None),
        ("²", None),
        ("one", None),
        (None, None),
    ],
)
def test_step_and_depth_are_plain_numbers_or_not_there(text: str | None, number: int | None) -> None:
    found = who({} if text is None else {"X-Headgate-Step": text, "X-Headgate-Depth": text})
    assert (found.step, found.depth) == (number, number or 0)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", ()),
        (",,, ,", ()),
        ("a=1", (("a", "1"),)),
        ("a=1, b=2", (("a", "1"), ("b", "2"))),
        (" a = 1 ,b= 2", (("a", "1"), ("b", "2"))),
        ("alone", (("alone", ""),)),
        ("a=", (("a", ""),)),
        ("=1", ()),
        ("a=b=c", (("a", "b=c"),)),
        ("a=1,a=2", (("a", "1"), ("a", "2"))),
        ("a\x00=\x1b1", (("a", "1"),)),
        ("a=\x00", (("a", ""),)),
        (f"{LONGEST}n={LONGEST}n", ((digest(LONGEST + "n"), digest(LONGEST + "n")),)),
    ],
)
def test_tags_are_pairs_of_names(text: str, tags: tuple[tuple[str, str], ...]) -> None:
    assert who({"X-Headgate-Tags": text}).tags == tags


def test_there_are_at_most_sixteen_tags() -> None:
    text = ", ".join(f"t{number}={number}" for number in range(1000))
    assert who({"X-Headgate-Tags": text}).tags == tuple((f"t{number}", str(number)) for number in range(16))
    assert who({}).tags == ()


@pytest.mark.parametrize("name", [LONGEST, LONGEST + "n"])
def test_a_tag_has_the_same_name_wherever_it_stands(name: str) -> None:
    (first, _), (second, _) = who({"X-Headgate-Tags": f"{name}=1, {name}=1"}).tags
    assert first == second


# --- anything --------------------------------------------------------------------------------------------------------

CHARACTERS = st.one_of(st.sampled_from(" ,=\0\n\udcff\u200bñ"), st.characters())
SAID = st.one_of(
    st.text(CHARACTERS, max_size=20),
    st.binary(max_size=20).map(lambda sent: sent.decode("utf-8", "surrogateescape")),  # as headers arrive
    st.builds(str.__mul__, st.text(CHARACTERS, min_size=1, max_size=3), st.integers(40, 300)),
)
NAMES = st.sampled_from((*OURS, *AGENTS, *RUNS, *PARENTS))
PLACES = st.builds(Place, st.just("/"), st.none() | SAID, st.none() | SAID)
WRITTEN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), SAID),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(SAID, inner, max_size=2)),
    max_leaves=4,
)
IN_METADATA = st.dictionaries(st.sampled_from(["run", "session_id", "agent", "x"]), WRITTEN, max_size=3)
BODIES = st.fixed_dictionaries(
    {}, optional={"session_id": WRITTEN, "prompt_cache_key": WRITTEN, "metadata": st.one_of(WRITTEN, IN_METADATA)}
)


@given(
    st.dictionaries(NAMES, SAID, max_size=8), st.builds(Place, st.just("/"), st.none() | SAID, st.none() | SAID), BODIES
)
def test_whatever_a_client_says_of_itself_its_names_are_printable_and_bounded(
    headers: dict[str, str], where: Place, body: dict[str, object]
) -> None:
    found = who(headers, body, where=where)
    assert fit_for_a_row(found.agent)
    assert all(fit_for_a_row(name) for name in (found.run, found.parent_run) if name is not None)
    assert (found.run is None) is (found.run_source == "none")
    assert (found.agent == "unattributed") or found.agent_source != "none"
    assert len(found.tags) <= 16
    assert all(fit_for_a_row(name) and (not value or fit_for_a_row(value)) for name, value in found.tags)
    assert found.step is None or 0 <= found.step < 10**9
    assert 0 <= found.depth < 10**9


@given(st.dictionaries(st.sampled_from(("Authorization", *KEYS)), SAID))
def test_whatever_is_in_the_key_headers_there_is_a_text_to_look_up(headers: dict[str, str]) -> None:
    key = presented_key(lower(headers))
    assert key == "" or any(key in value for value in headers.values())


@given(SAID)
def test_a_cleaned_name_stays_as_it_is(value: str) -> None:
    once = clean(value)
    assert clean(once) == once
    assert once is None or fit_for_a_row(once)


def test_fields_are_decoded_from_the_very_bytes_that_were_sent() -> None:
    fields = {"session_id": Raw(b' "told" '), "metadata": Raw(msgspec.json.encode({"agent": "a"}))}
    found = identity(KEY, NOWHERE, {}, fields)
    assert (found.run, found.agent) == ("told", "a")
