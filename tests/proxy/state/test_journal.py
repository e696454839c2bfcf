from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.state.journal import WINDOW, Journal
from tests.effort import some

RECORDS = [(1, b"first"), (2, b""), (255, b"x" * 1_000), (1, b"\x00\xff last")]


def written(path: Path, *records: tuple[int, bytes]) -> Journal:
    journal = Journal(path)
    for kind, payload in records:
        journal.append(kind, payload)
    return journal


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=20))
def test_what_was_appended_is_read_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[int, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "holds"
    written(path, *records).close()
    assert list(Journal.read(path)) == records


def test_where_there_is_no_file_there_is_nothing(tmp_path: Path) -> None:
    assert list(Journal.read(tmp_path / "none")) == []


def test_a_file_cut_at_any_byte_gives_the_records_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    written(path, *RECORDS).close()
    whole = path.read_bytes()
    ends = [len(whole) - 9 * (len(RECORDS) - n) - sum(len(p) for _, p in RECORDS[n:]) for n in range(len(RECORDS) + 1)]
    for cut in some(range(len(whole) + 1)):
        path.write_bytes(whole[:cut])
        kept = max(n for n, end in enumerate(ends) if end <= cut)
        assert list(Journal.read(path)) == RECORDS[:kept]


def test_a_changed_byte_ends_the_reading_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    written(path, *RECORDS).close()
    whole = path.read_bytes()
    for at in some(range(len(whole))):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = list(Journal.read(path))
        assert found == RECORDS[: len(found)] and len(found) < len(RECORDS)


def test_the_next_process_goes_on_behind_the_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    written(path, *RECORDS[:2]).close()
    with path.open("ab") as file:
        file.write(b"\x01\x00\x00\x00\x09torn")
    written(path, RECORDS[3]).close()
    assert list(Journal.read(path)) == [*RECORDS[:2], RECORDS[3]]


def test_rotating_keeps_the_old_file_until_the_fresh_one_is_synced(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    journal = written(path, *RECORDS)
    journal.rotate([RECORDS[3]])
    journal.append(7, b"after")
    assert list(Journal.read(path)) == [*RECORDS, RECORDS[3], (7, b"after")]
    journal.sync()
    assert not journal.unsynced
    assert list(Journal.read(path)) == [RECORDS[3], (7, b"after")]
    assert [file.name for file in tmp_path.iterdir()] == ["holds"]
    journal.append(8, b"more")
    assert journal.unsynced
    journal.close()
    assert list(Journal.read(path)) == [RECORDS[3], (7, b"after"), (8, b"more")]


def test_a_rotation_that_was_not_synced_is_finished_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    journal = written(path, *RECORDS)
    journal.rotate([RECORDS[0]])
    journal.close()
    again = Journal(path)
    assert list(Journal.read(path)) == [*RECORDS, RECORDS[0]]
    again.sync()
    assert list(Journal.read(path)) == [RECORDS[0]]
    again.close()


def test_the_file_stays_bounded_while_little_is_live(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "holds", size_max=10_000)
    for number in range(1_000):
        journal.append(1, b"x" * 100)
        if journal.full:
            journal.rotate([(1, b"live %d" % number)])
            journal.sync()
    assert next(iter(Journal.read(tmp_path / "holds")))[1].startswith(b"live")
    journal.close()
    assert (tmp_path / "holds").stat().st_size < 11_000


def test_a_file_whose_records_all_live_is_not_rewritten_over_and_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "holds", size_max=1_000)
    live: list[tuple[int, bytes]] = []
    rotations = 0
    for _ in range(1_000):
        live.append((1, b"x" * 100))
        journal.append(*live[-1])
        if journal.full:
            journal.rotate(live)
            journal.sync()
            rotations += 1
    assert rotations <= 8
    assert list(Journal.read(journal.path)) == live
    journal.close()


def test_a_full_disk_is_told_and_leaves_no_torn_record(tmp_path: Path) -> None:
    """A file size limit stands for the disk that is full."""
    script = f"""
import resource, signal
from pathlib import Path
from proxy.state.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 100_000))
journal = Journal(Path({str(tmp_path / "holds")!r}))
kept = 0
try:
    while True:
        journal.append(1, b"x" * 90)
        kept += 1
except OSError:
    pass
assert len(list(Journal.read(journal.path))) == kept == 10, kept
try:
    journal.rotate([(1, b"y" * 2_000)])
    raise SystemExit("a rotation that did not fit went through")
except OSError:
    pass
assert len(list(Journal.read(journal.path))) == kept
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
journal.append(2, b"there is space again")
assert list(Journal.read(journal.path))[-1] == (2, b"there is space again")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_what_was_appended_survives_the_death_of_the_process(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from proxy.state.journal import Journal
journal = Journal(Path({str(tmp_path / "holds")!r}))
for number in range(10**9):
    journal.append(1, b"%d" % number)
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        last = -1
        for line in writer.stdout:  # ends: with the writer
            last = int(line) if line.endswith("\n") else last
            if last == 500:
                os.kill(writer.pid, signal.SIGKILL)
    assert last >= 500
    numbers = [int(payload) for _, payload in Journal.read(tmp_path / "holds")]
    assert numbers[: last + 1] == list(range(last + 1))


def test_records_go_on_from_one_window_of_the_file_to_the_next(tmp_path: Path) -> None:
    records = [(1, bytes([number % 256]) * (number * 37 % 3_000)) for number in range(1_000)]
    records.insert(500, (2, b"x" * (2 * WINDOW)))
    journal = written(tmp_path / "holds", *records)
    assert list(Journal.read(tmp_path / "holds")) == records, "as somebody else finds it"
    journal.sync()
    journal.close()
    assert (tmp_path / "holds").stat().st_size == sum(9 + len(payload) for _, payload in records)
    again = Journal(tmp_path / "holds")
    again.append(3, b"more")
    assert list(Journal.read(tmp_path / "holds")) == [*records, (3, b"more")]
    again.close()


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    journal = written(tmp_path / "holds", *RECORDS)
    journal.rotate(RECORDS)
    journal.close()
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_clearing_leaves_nothing(tmp_path: Path) -> None:
    journal = written(tmp_path / "holds", *RECORDS)
    journal.rotate(RECORDS)
    journal.close()
    Journal.clear(tmp_path / "holds")
    assert list(tmp_path.iterdir()) == []
