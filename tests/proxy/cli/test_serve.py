from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from proxy.cli.serve import FromFile, FromSurroundings, register, serve
from proxy.config.error import ConfigError


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(dest="command"))
    return parser.parse_args(arguments)


def test_both_commands_take_where_to_listen_and_where_to_write() -> None:
    for command in ("up", "serve"):
        given = vars(parsed(command, "--host", "::1", "--port", "1", "--admin-port", "2", "--data-dir", "d"))
        assert (given["server.host"], given["server.port"], given["admin.port"], given["data_dir"]) == (
            "::1",
            1,
            2,
            "d",
        )


@pytest.mark.parametrize("arguments", [["up", "--config", "x"], ["up", "--workers", "2"], ["serve", "--port", "x"]])
def test_other_options_are_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert ended.value.code == 2


def test_a_file_is_read_anew_at_each_load(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("providers: {sim: {kind: simulated}}\nmodels: {small: sim/small}\n")
    source = FromFile(file, {}, {"server.port": 9})
    first = source.load()
    assert (first.server.port, first.source) == (9, file)
    file.write_text("providers: {sim: {kind: simulated}}\nmodels: {large: sim/large}\n")
    assert set(source.load().models) == {"large"}
    assert set(first.models) == {"small"}


def test_the_number_of_workers_comes_from_the_file_or_a_flag(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("providers: {sim: {kind: simulated}}\nmodels: {small: sim/small}\n")
    assert FromFile(file, {}, {}).load().server.workers == 1
    assert FromFile(file, {}, {"server.workers": 4}).load().server.workers == 4


def test_what_is_found_is_looked_for_anew_at_each_load() -> None:
    engines: dict[int, tuple[str, ...]] = {}
    source = FromSurroundings({}, engines.get, {"admin.port": 7})
    assert set(source.load().providers) == {"simulated"}
    assert "SIMULATED" in "\n".join(source.notices())
    engines[8000] = ("qwen3",)
    assert set(source.load().providers) == {"vllm", "simulated"}
    assert source.load().admin.port == 7


def test_without_a_file_the_way_to_start_without_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name one with --config, or start without: `headgate up`"):
        serve(parsed("serve", "--config", str(tmp_path / "gone.yaml")))
