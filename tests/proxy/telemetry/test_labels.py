from __future__ import annotations

from msgspec.structs import replace

from proxy.telemetry.catalog import OUTCOME
from proxy.telemetry.family import AGENT, MODEL, Label
from proxy.telemetry.labels import Labels
from tests.proxy.telemetry.samples import DEEP, FAST, TARGETS, WILD


def labels(*agents: str, agents_max: int = 50) -> Labels:
    made = Labels(agents_max)
    made.learn(["smart"], TARGETS, agents=agents, models=["gpt-5.5"])
    return made


def test_only_configured_names_are_shown() -> None:
    known = labels("planner")
    assert (known.route("smart"), known.route("sm4rt"), known.route("")) == ("smart", "other", "other")
    assert (known.agent("planner"), known.agent("intruder")) == ("planner", "other")
    assert known.target(FAST) == "p1/fast"
    assert known.target(replace(FAST, id="p1/slow")) == "other"


def test_a_call_of_nobody_is_unattributed() -> None:
    assert labels().agent("") == labels().agent("unattributed") == "unattributed"


def test_a_wildcard_entry_is_one_target() -> None:
    by_name = replace(WILD, id="p3/whatever", model="whatever")
    assert labels().target(by_name) == "p3/*"
    assert labels().model(by_name) == "other"
    assert labels().model(replace(by_name, model="gpt-5.5")) == "gpt-5.5"  # in the price book


def test_the_oldest_agents_keep_their_names() -> None:
    known = labels("a", "b", "c", agents_max=2)
    assert [known.agent(name) for name in "abc"] == ["a", "b", "other"]
    known.learn([], [], agents=["a", "c", "b"], models=[])
    assert known.agent("c") == "other" and known.agents_refused == 2


def test_names_survive_a_reload_that_drops_them() -> None:
    known = labels("planner")
    known.learn(["other-route"], [DEEP], agents=["writer"], models=[])
    assert known.route("smart") == "smart" and known.agent("planner") == "planner" and known.agent("writer") == "writer"


def test_a_listed_label_refuses_other_values_and_an_unknown_one_all() -> None:
    known = labels("planner")
    assert known.allow(OUTCOME, "ok") and not known.allow(OUTCOME, "planner")
    assert known.allow(AGENT, "unattributed") and not known.allow(MODEL, "secret-model")
    assert not known.allow(Label("undeclared"), "x")
