from __future__ import annotations

import pytest

from proxy.config.check import listeners, references, take_out_what_is_later, write_out
from proxy.config.file import Place
from proxy.config.tree import Path, Value


def values(**more: Value) -> dict[str, Value]:
    return {"providers": {"sim": {"kind": "simulated"}}, "models": {"m": {"targets": ["sim/m"]}}, **more}


def test_short_forms_are_written_out_in_their_place() -> None:
    short: dict[str, Value] = {"models": {"a": "p/x/y", "b": {"targets": ["p/x", {"provider": "q", "model": "z"}]}}}
    places: dict[Path, Place] = {("models", "a"): Place(3), ("models", "b", "targets", 0): Place(5)}
    write_out(short, places)
    assert short == {
        "models": {
            "a": {"targets": [{"provider": "p", "model": "x/y"}]},
            "b": {"targets": [{"provider": "p", "model": "x"}, {"provider": "q", "model": "z"}]},
        }
    }
    assert places["models", "a", "targets", 0, "model"] == Place(3)
    assert places["models", "b", "targets", 0, "provider"] == Place(5)


@pytest.mark.parametrize(
    "odd",
    [
        {"models": 3},
        {"models": {"a": 3, "b": {"targets": 3}, "c": {"targets": [3, [], {}]}, "d": None}},
        {
            "models": ["a"],
            "providers": ["p"],
            "agents": [1],
            "keys": {"a": 1},
            "server": 1,
            "pricing": {"overrides": 1},
        },
        {"agents": {"a": {"models": "m"}, "b": 1}, "keys": [1, {"key": []}], "server": {"host": 1, "workers": "4"}},
        {"providers": {"a": {"kind": []}}, "admin": {"host": [], "port": []}, "data_dir": [], "pricing": []},
    ],
)
def test_no_check_minds_a_wrong_type(odd: dict[str, Value]) -> None:
    write_out(odd, {})
    list(references(odd))
    list(listeners(odd, keys_stored=False))
    list(take_out_what_is_later(odd))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("defaults", "breaker"), {"window_s": 60}),
        (("agents", "a", "output_tokens_max"), 120),
        (("agents", "a", "breaker"), {"window_s": 60}),
        (("agents", "a", "retry", "budget"), 0.2),
    ],
)
def test_a_feature_of_later_is_refused_by_its_own_words(path: Path, value: Value) -> None:
    given = values(defaults={}, agents={"a": {"retry": {}}}, telemetry={})
    inner: Value = given
    for part in path[:-1]:
        assert isinstance(inner, dict)
        inner = inner[str(part)]
    assert isinstance(inner, dict)
    inner[str(path[-1])] = value
    (problem,) = take_out_what_is_later(given)
    assert (problem.path, problem.message) == (path, "not available in this version")
    assert path[-1] not in inner


@pytest.mark.parametrize(
    ("block", "name", "nature"),
    [("providers", "kind", "anthropic"), ("providers", "kind", "bedrock")],
)
def test_a_block_of_a_later_nature_is_one_problem(block: str, name: str, nature: str) -> None:
    given = values(**{block: {"x": {name: nature, "steps": [], "gpu": 1}}})
    (problem,) = take_out_what_is_later(given)
    assert problem.message == f"{name} {nature!r} is not available in this version"
    assert given[block] == {}


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({"models": {}}, ("models",), "no model is configured, so nothing could be served"),
        (
            {"models": {"m": {"targets": [{"provider": "sin", "model": "m"}]}}},
            ("models", "m", "targets", 0, "provider"),
            "there is no provider 'sin'; did you mean 'sim'?",
        ),
        ({"models": {"m": {"targets": ["sim"]}}}, ("models", "m", "targets", 0), "a target reads provider/model"),
        (
            {"models": {"m": {"targets": [{"provider": "sim", "model": "*"}]}}},
            ("models", "m", "targets", 0, "model"),
            "`*` needs a model name that ends with `*`",
        ),
        (
            {"agents": {"a": {"models": ["m", "n"]}}},
            ("agents", "a", "models", 1),
            "there is no model 'n'; known here: m",
        ),
        ({"keys": [{"models": ["n"]}]}, ("keys", 0, "models", 0), "there is no model 'n'; known here: m"),
        (
            {"pricing": {"overrides": {"sum/x": {}}}},
            ("pricing", "overrides", "sum/x"),
            "there is no provider 'sum'; did you mean 'sim'?",
        ),
        ({"pricing": {"overrides": {"sim": {}}}}, ("pricing", "overrides", "sim"), "the name must be provider/model"),
    ],
)
def test_a_name_that_nothing_bears_is_refused_with_the_nearest(
    given: dict[str, Value], path: Path, message: str
) -> None:
    whole = values(**{"models": {"m": {"targets": [{"provider": "sim", "model": "m"}]}}, **given})
    assert [(problem.path, problem.message) for problem in references(whole)] == [(path, message)]


def test_an_engine_paid_by_the_hour_has_no_second_price() -> None:
    sim: Value = {"kind": "simulated", "gpu": {"usd_per_hour": 2.5}}
    given = values(
        providers={"sim": sim, "other": {"kind": "simulated"}},
        pricing={"overrides": {"sim/m": {}, "other/m": {}}},
    )
    write_out(given, {})
    (found,) = references(given)
    assert found.path == ("pricing", "overrides", "sim/m")
    assert "providers.sim.gpu" in found.message
    shared = values(providers={"sim": sim}, server={"workers": 2})
    write_out(shared, {})
    assert list(references(shared)) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_secret(host: str) -> None:
    assert list(listeners({"server": {"host": host}, "admin": {"host": host}}, keys_stored=False)) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gate.example.org", "", "127.0.0.1.example.org"])
def test_a_network_needs_keys_and_a_token(host: str) -> None:
    given: dict[str, Value] = {"server": {"host": host}, "admin": {"host": host}, "keys": [{"key": None}, {"key": ""}]}
    found = {problem.path: problem.message for problem in listeners(given, keys_stored=False)}
    assert set(found) == {("server", "host"), ("admin", "host")}
    assert "headgate keys create" in found["server", "host"]
    assert "admin.token" in found["admin", "host"]


def test_a_network_is_fine_with_keys_from_either_place_and_a_token() -> None:
    given: dict[str, Value] = {"server": {"host": "::"}, "admin": {"host": "::", "token": "t"}}
    assert list(listeners(given, keys_stored=True)) == []
    assert list(listeners({**given, "keys": [{"key": "k"}]}, keys_stored=False)) == []


def test_one_secret_is_one_key() -> None:
    given: dict[str, Value] = {"keys": [{"key": "canary"}, {"key": ""}, {"key": ""}, {"key": "canary"}]}
    (problem,) = listeners(given, keys_stored=False)
    assert (problem.path, problem.message) == (("keys", 3, "key"), "the same key as keys.0")


def test_two_listeners_have_two_ports() -> None:
    for given in ({"server": {"port": 9}, "admin": {"port": 9}}, {"server": {"port": 8081}}, {"admin": {"port": 8080}}):
        (problem,) = listeners(given, keys_stored=False)  # type: ignore[arg-type]
        assert problem.path == ("admin", "port")
    assert list(listeners({"server": {"port": 0}, "admin": {"port": 0}}, keys_stored=False)) == []
