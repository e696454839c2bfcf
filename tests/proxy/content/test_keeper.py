"""From calls to files: what is kept, what is dropped, and that nobody waits for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import json, structs

from proxy.clock import day_wall
from proxy.content import keeper as keeping_module
from proxy.content import segments
from proxy.content.heard import ROOM, Keeping
from proxy.content.keeper import Keeper
from proxy.dialects.openai_chat import OpenAI
from proxy.types import ContentPolicy
from tests.build import call

DAY = day_wall("2026-11-23")


class Kept:
    def __init__(self, folder: Path) -> None:
        self.told: list[str] = []
        self.folder = folder
        self.keeper = Keeper(folder, "gate", dialect=OpenAI(), wall=lambda: DAY, report=self.told.append)

    def say(self, id: str, words: str, policy: ContentPolicy = "full", reply: bytes = b'"yes"') -> None:
        raw = json.encode({"messages": [{"role": "user", "content": words}]})
        made = structs.replace(call(raw=raw), id=id)
        heard = self.keeper.begin(made, Keeping(policy), headers={}, presented=())
        heard.content_type = "application/json"
        heard.add(reply)
        self.keeper.end(heard)

    def text(self, id: str) -> str | None:
        entry = segments.find(self.folder, id, DAY)
        return None if entry is None or entry.request is None else entry.request.text


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "content")


async def test_what_was_said_is_on_the_disk_when_it_is_closed(kept: Kept) -> None:
    for number in range(20):
        kept.say(f"id{number}", f"words {number}")
    kept.keeper.close()
    assert [kept.text(f"id{number}") for number in (0, 19)] == [
        f'{{"messages":[{{"role":"user","content":"words {number}"}}]}}' for number in (0, 19)
    ]
    assert kept.keeper.lost == 0


def test_without_a_call_there_is_no_thread_and_no_folder(kept: Kept) -> None:
    kept.keeper.close()
    assert not kept.folder.exists()


async def test_what_is_masked_beside_credentials_follows_the_configuration(kept: Kept) -> None:
    kept.keeper.use(("mail",))
    kept.say("one", "a@example.org", "redacted")
    kept.keeper.close()
    assert "[mail]" in str(kept.text("one"))


async def test_what_does_not_fit_is_dropped_and_counted(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping_module, "WAITING_MAX", 0)
    kept.say("one", "words")
    assert kept.keeper.lost == 1
    kept.keeper.close()
    assert kept.text("one") is None


async def test_room_is_given_back(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.say("written", "words")
    kept.keeper.close()
    monkeypatch.setattr(keeping_module, "WAITING_MAX", 0)
    kept.say("dropped", "words")
    assert kept.keeper._room.held == 0
    assert ROOM > 0


async def test_a_disk_that_fails_costs_the_words_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(b"a file stands where the folder should be")
    kept = Kept(tmp_path / "content")
    for number in range(3):
        kept.say(str(number), "words")
    kept.keeper.close()
    assert kept.keeper.lost == 3
    assert len(kept.told) == 1
    assert "words" not in kept.told[0]


@pytest.mark.parametrize(("policy", "told"), [("full", True), ("redacted", False), ("digest", False)])
async def test_a_span_gets_all_words_of_calls_that_are_kept_in_full(
    kept: Kept, policy: ContentPolicy, told: bool
) -> None:
    words: list[dict[str, str]] = []
    made = structs.replace(call(raw=b'{"messages":[{"role":"user","content":"asked"}]}'), id="one")
    heard = kept.keeper.begin(made, Keeping(policy), headers={}, presented=())
    heard.content_type = "application/json"
    assert kept.keeper.tell("one", words.append) == told
    heard.add(b'{"choices":[{"text":"answered"}]}')  # later than it was asked for
    kept.keeper.end(heard)
    assert not kept.keeper.tell("one", words.append)
    kept.keeper.close()
    await asyncio.sleep(0)
    assert len(words) == told
    for each in words:
        assert "asked" in each["gen_ai.input.messages"] and "answered" in each["gen_ai.output.messages"]


async def test_a_span_does_not_wait_for_words_that_were_dropped(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping_module, "WAITING_MAX", 0)
    words: list[dict[str, str]] = []
    heard = kept.keeper.begin(call(), Keeping("full"), headers={}, presented=())
    assert kept.keeper.tell(call().id, words.append)
    kept.keeper.end(heard)
    assert words == [{}]


async def test_words_that_cannot_be_written_do_not_stop_the_writer(kept: Kept) -> None:
    made = structs.replace(call(), id="odd")
    heard = kept.keeper.begin(made, Keeping("full"), headers={}, presented=())
    heard.content_type = "text/event-stream"
    heard.add(b'data: {"choices":[{"index":0,"logprob":1%s}]}\n\n' % (b"0" * 400))
    kept.keeper.end(heard)
    kept.say("next", "words")
    kept.keeper.close()
    assert kept.text("next") is not None
    assert kept.keeper.lost <= 1
