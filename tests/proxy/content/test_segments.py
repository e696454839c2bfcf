"""Files of kept words: who may read them, how an entry is found again, and how they go."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from msgspec import json

from proxy.clock import day_wall
from proxy.content import segments
from proxy.content.segments import DAY_S, SEGMENT_MAX, Writer, load_key
from proxy.state.content_report import ContentEntry

DAY = day_wall("2026-11-23")


def entry(id: str, words: str = "") -> ContentEntry:
    return ContentEntry(id, "2026-11-23T00:00:00.000Z", "a", "m", "chat", "full", run=words or None)


def line(id: str, words: str = "") -> bytes:
    return json.encode(entry(id, words)) + b"\n"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return [each.path.name for each in segments.segments(folder)]


def test_only_their_owner_can_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "content"
    before = os.umask(0)
    try:
        load_key(folder)
        Writer(folder, "gate").write(line("one"), DAY)
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert {mode(file) for file in folder.iterdir()} == {0o600}


def test_the_key_is_made_once(tmp_path: Path) -> None:
    key = load_key(tmp_path)
    assert (len(key), load_key(tmp_path)) == (32, key)
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_an_entry_is_found_by_its_id_whichever_process_has_written_it(tmp_path: Path) -> None:
    for number, process in enumerate(("worker0", "worker1")):
        writer = Writer(tmp_path, process)
        for count in range(3):
            writer.write(line(f"{number}-{count}"), DAY + 5)
    assert segments.find(tmp_path, "1-1", DAY) == entry("1-1")
    assert segments.find(tmp_path, "2-0", DAY) is None


def test_an_entry_that_another_one_quotes_is_not_mistaken_for_it(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "gate")
    first = ContentEntry("first", '{"id":"second",', "a", "m", "chat", "full")
    writer.write(json.encode(first).replace(b'\\"', b'"') + b"\n", DAY)  # worse than any writer could
    writer.write(line("second"), DAY)
    assert segments.find(tmp_path, "second", DAY) == entry("second")


def test_a_call_of_yesterday_that_ended_today_is_found_and_older_files_are_not_read(tmp_path: Path) -> None:
    Writer(tmp_path, "gate").write(line("late"), DAY + 1)
    assert segments.find(tmp_path, "late", DAY - 30) == entry("late")
    assert segments.find(tmp_path, "late", DAY + DAY_S) is None


def test_each_day_has_a_file_of_its_own_and_a_large_one_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path, "gate")
    writer.write(line("one"), DAY)
    writer.write(line("two"), DAY + DAY_S)
    monkeypatch.setattr(segments, "SEGMENT_MAX", 10)
    writer.write(line("three"), DAY + DAY_S)
    assert names(tmp_path) == [
        "2026-11-23.gate-0000.jsonl",
        "2026-11-24.gate-0000.jsonl",
        "2026-11-24.gate-0001.jsonl",
    ]
    assert SEGMENT_MAX < 64 * 1024 * 1024, "the smallest `max_mb` has room for one and what is being written"


def test_a_line_that_a_crash_has_cut_does_not_swallow_the_next(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "gate")
    writer.write(line("cut")[:20], DAY)
    writer.close()
    Writer(tmp_path, "gate").write(line("next"), DAY)
    assert segments.find(tmp_path, "next", DAY) == entry("next")
    assert segments.find(tmp_path, "cut", DAY) is None


def test_whoever_writes_goes_on_in_a_new_file_after_a_purge(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "gate")
    writer.write(line("before"), DAY)
    gone = segments.trim(tmp_path, -1)
    assert (gone.segments, names(tmp_path)) == (1, [])
    writer.write(line("after"), DAY)
    assert segments.find(tmp_path, "after", DAY) == entry("after")


def test_days_that_are_over_go_by_age_and_the_key_stays(tmp_path: Path) -> None:
    load_key(tmp_path)
    for day in range(3):
        Writer(tmp_path, "gate").write(line(str(day)), DAY + day * DAY_S)
    assert segments.purge(tmp_path, DAY + 2 * DAY_S - 1).segments == 1
    assert names(tmp_path) == ["2026-11-24.gate-0000.jsonl", "2026-11-25.gate-0000.jsonl"]
    assert (tmp_path / "key").exists()


def test_of_too_much_the_oldest_go(tmp_path: Path) -> None:
    for day in range(3):
        Writer(tmp_path, "gate").write(line(str(day)), DAY + day * DAY_S)
    size = len(line("0"))
    assert segments.trim(tmp_path, 2 * size).bytes == size
    assert segments.report(tmp_path).oldest == "2026-11-24"
    assert segments.trim(tmp_path, 2 * size).segments == 0


def test_what_is_no_segment_is_left_alone(tmp_path: Path) -> None:
    for name in ("notes.jsonl", "2026-11-23.txt", "key"):
        (tmp_path / name).write_bytes(b"x")
    segments.trim(tmp_path, -1)
    assert len(list(tmp_path.iterdir())) == 3
    assert segments.report(tmp_path / "nowhere").segments == 0
