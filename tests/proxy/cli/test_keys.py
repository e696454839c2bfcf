from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.cli.main import main
from proxy.state.keys import Keyring, KeyStore, load_pepper

CONFIG = "providers: {sim: {kind: simulated}}\nmodels: {small: sim/small}\nserver: {host: 0.0.0.0}\nx: ${GONE}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADGATE_PEPPER", raising=False)
    return tmp_path


def key_store(folder: Path) -> KeyStore:
    return KeyStore(folder, load_pepper(folder, {}), lambda: 0.0)


def opened(folder: Path) -> Keyring:
    return Keyring(key_store(folder), load_pepper(folder, {}), configured=(), loopback=False)


def test_a_created_key_is_shown_once_and_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--agent", "planner", "--team", "core", "--expires", "30d"]) == 0
    said = capsys.readouterr()
    record = opened(folder / "headgate-data").identify(said.out.strip())
    assert record is not None
    assert (record.agent, record.team, record.models) == ("planner", "core", None)
    assert said.out.strip() not in said.err
    assert record.id in said.err
    main(["keys", "list"])
    listed = capsys.readouterr().out
    assert listed.startswith(f"{record.id}\tplanner\tcore\tall\t-\tlive\tmade ")
    assert "ends in 29d" in listed
    assert said.out.strip()[12:] not in listed


def test_json_for_scripts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--agent", "any", "--data-dir", "d", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert opened(folder / "d").identify(told["key"]) is not None
    assert main(["keys", "list", "--data-dir", "d", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["agent"], listed["state"]) == (told["id"], None, "live")
    assert "digest" not in listed


def test_as_json_a_revocation_is_an_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--agent", "planner", "--json"]) == 0
    id = json.loads(capsys.readouterr().out)["id"]
    assert main(["keys", "revoke", id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"revoked": id}


def test_a_revoked_key_is_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "create", "--agent", "a", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert main(["keys", "revoke", told["id"]]) == 0
    assert opened(folder / "headgate-data").identify(told["key"]) is None
    capsys.readouterr()
    main(["keys", "list"])
    assert "\trevoked\t" in capsys.readouterr().out


def test_revoking_what_does_not_exist_fails_with_what_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "create", "--agent", "a", "--json"])
    id = json.loads(capsys.readouterr().out)["id"]
    assert main(["keys", "revoke", id[:-1] + "!"]) == 1
    assert f"did you mean '{id}'?" in capsys.readouterr().err


def test_the_first_key_needs_no_valid_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.yaml").write_text(CONFIG + "data_dir: kept\n")
    assert main(["keys", "create", "--agent", "a", "--model", "small", "--config", "c.yaml"]) == 0
    record = opened(folder / "kept").identify(capsys.readouterr().out.strip())
    assert record is not None
    assert record.models == ("small",)


def test_the_usual_file_is_looked_at_when_it_is_there(folder: Path) -> None:
    (folder / "headgate.yaml").write_text(CONFIG + "data_dir: kept\n")
    assert main(["keys", "create", "--agent", "a"]) == 0
    assert (folder / "kept" / "keys.json").exists()
    assert main(["keys", "create", "--agent", "a", "--data-dir", "other"]) == 0
    assert (folder / "other" / "keys.json").exists()


def test_a_model_that_is_not_configured_is_wrong_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.yaml").write_text(CONFIG)
    assert main(["keys", "create", "--agent", "a", "--model", "smal", "--config", "c.yaml"]) == 2
    assert "there is no model 'smal'; did you mean 'small'?" in capsys.readouterr().err
    assert key_store(folder / "headgate-data").empty


@pytest.mark.parametrize("where", [[], ["--data-dir", "d"]])
def test_a_model_cannot_be_named_where_no_configuration_has_any(
    folder: Path, where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "--agent", "a", "--model", "nope", *where]) == 2
    assert "there is no configuration here: add --config FILE" in capsys.readouterr().err
    assert key_store(folder / "headgate-data").empty
    assert key_store(folder / "d").empty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "a", "--budget", "5/fortnight"], "window of a budget is minute, hour"),
        (["--agent", "a b"], "a name has up to 64"),
        (["--agent", "a", "--expires", "soon"], "no length of time"),
        ([], "--agent"),
    ],
)
def test_wrong_usage_is_told(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["keys", "create", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (folder / "headgate-data").exists()


def test_a_broken_store_fails_and_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "create", "--agent", "a"])
    (folder / "headgate-data" / "keys.json").write_text("{")
    capsys.readouterr()
    assert main(["keys", "list"]) == 1
    assert "broken" in capsys.readouterr().err


def test_a_key_brings_its_budgets_in_their_canonical_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--agent", "a", "--budget", "5/day", "--budget", "400000tokens/minute"]) == 0
    (made,) = key_store(folder / "headgate-data").list()
    assert made.budget == ("5.00/day", "400000tokens/minute")
    main(["keys", "list"])
    assert "\t5.00/day 400000tokens/minute\tlive" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("team", "said"),
    [("cor", "no rules are configured for a team 'cor'"), ("cor", "did you mean 'core'?"), ("core", "")],
)
def test_a_team_without_rules_is_pointed_out_and_gets_its_key(
    folder: Path, team: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.yaml").write_text(CONFIG + "teams: {core: {budget: [{usd: 5, per: day}]}}\n")
    assert main(["keys", "create", "--agent", "a", "--team", team, "--config", "c.yaml"]) == 0
    told = capsys.readouterr()
    assert said in told.err and ("team" in told.err) == bool(said)
    assert opened(folder / "headgate-data").identify(told.out.strip()) is not None
