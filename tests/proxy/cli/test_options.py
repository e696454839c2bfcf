from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from proxy.cli.options import (
    DEFAULT_FILE,
    LISTENING,
    WORKERS,
    add_config,
    add_overrides,
    config_file,
    length_s,
    overrides,
)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_config(parser)
    add_overrides(parser, (WORKERS, *LISTENING))
    return parser.parse_args(arguments)


def test_only_what_was_given_overrides_the_file() -> None:
    assert overrides(parsed()) == {}
    given = parsed("--host", "::1", "--port", "0", "--admin-port", "9", "--data-dir", "/d", "--workers", "2")
    assert overrides(given) == {
        "server.host": "::1",
        "server.port": 0,
        "admin.port": 9,
        "data_dir": "/d",
        "server.workers": 2,
    }


def test_a_command_without_the_option_overrides_nothing() -> None:
    assert overrides(argparse.Namespace()) == {}


def test_the_file_has_a_usual_name() -> None:
    assert config_file(parsed()) == DEFAULT_FILE
    assert config_file(parsed("--config", "x.toml")) == Path("x.toml")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("90m", 5400), ("12h", 43200), ("30d", 2592000), ("2w", 1209600)]
)
def test_lengths_of_time_have_a_unit(text: str, seconds: float) -> None:
    assert length_s(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "0d", "-1d", "1.5h", "d", "1y", "9999999d"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no length of time"):
        length_s(text)
