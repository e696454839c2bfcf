"""Files of keys are whole or not there, readable by their owner alone, and written by one at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from proxy.state.key_file import KeyStoreError, locked, refusing, write


def test_a_file_is_replaced_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    for content in (b"first", b"2"):
        write(file, content)
    assert file.read_bytes() == b"2"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]


def test_the_lock_keeps_others_out_while_it_is_held(tmp_path: Path) -> None:
    with locked(tmp_path / "new"), (tmp_path / "new" / "keys.lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "new" / "keys.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("error", "message"), [(OSError(28, "No space left"), "No space left"), (ValueError("x"), "is broken; restore it")]
)
def test_faults_are_told_in_plain_words(tmp_path: Path, error: Exception, message: str) -> None:
    with pytest.raises(KeyStoreError, match=message), refusing(tmp_path):
        raise error
