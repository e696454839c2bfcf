"""What people read of kept words, and what they may ask to forget."""

from __future__ import annotations

import argparse
import asyncio
import io

import pytest

from proxy.cli import content
from proxy.cli.content import words
from proxy.cli.table import Page
from proxy.state.content_report import ContentEntry, ContentReport, Side
from proxy.surfaces.admin_content import ContentRoutes
from proxy.surfaces.admin_guard import Guard, Rules
from tests.proxy.admin import listening
from tests.words import WordsDesk, no_words

PAGE = Page(io.StringIO())


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    content.register(parser.add_subparsers(dest="command"))
    return parser.parse_args(["content", *arguments])


def told(request: Side | None, reply: Side | None) -> list[str]:
    return list(words(ContentEntry("id", "", "a", "m", "chat", "redacted", None, request, reply)))


@pytest.mark.parametrize(
    ("arguments", "said", "purges"),
    [
        ((), "3.0 MiB in 2 files, the oldest of 2026-11-20", []),
        (("purge", "--all"), "gone: 1.0 MiB in 1 file", [None]),
        (("purge", "--before", "1d"), "gone: 1.0 MiB in 1 file", [1_795_392_000_000 - 86_400_000]),
    ],
)
async def test_it_shows_and_forgets(
    arguments: tuple[str, ...], said: str, purges: list[int | None], capsys: pytest.CaptureFixture[str]
) -> None:
    desk = WordsDesk()
    guard = Guard(Rules(lambda audit: None, None, frozenset(), ()), ContentRoutes(no_words(desk)).routes())
    async with listening(guard) as address:
        code = await asyncio.to_thread(content.content, parsed(*arguments, "--admin", address))
    assert (code, capsys.readouterr().out.strip(), desk.purges) == (0, said, purges)


def test_a_little_is_not_shown_as_nothing() -> None:
    (said,) = content._shown(ContentReport(1, 4_096, "2026-11-20"), PAGE)
    assert said == "4.0 KiB in 1 file, the oldest of 2026-11-20"


def test_where_nothing_is_kept_it_says_so() -> None:
    assert list(content._shown(ContentReport(0, 0, None), PAGE)) == ["no words are kept"]


@pytest.mark.parametrize(
    "arguments", [("purge",), ("purge", "--all", "--before", "1d"), ("--all",), ("--before", "1d")]
)
def test_what_could_be_meant_otherwise_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert content.content(parsed(*arguments)) == 2
    assert "headgate: " in capsys.readouterr().err


def test_words_of_a_call() -> None:
    request = Side(12, text='{"a":"b"}', headers={"user-agent": "x"})
    reply = Side(99, text="begin", tail="end", status=200, complete=False)
    assert told(request, reply) == [
        "content: kept redacted",
        "request: 12 bytes",
        "  user-agent: x",
        '  {"a":"b"}',
        "reply: 99 bytes, not to its end",
        "  begin",
        "  [what lies between is left out]",
        "  end",
    ]


def test_words_that_are_no_words() -> None:
    assert told(Side(3, digest="ab12"), None) == [
        "content: kept redacted",
        "request: 3 bytes, digest ab12",
        "reply: left out, as the caller wished",
    ]
    assert told(Side(3, why_not="it is empty"), None)[2] == "  no text: it is empty"
    assert list(words(None)) == ["content: none is kept"]
