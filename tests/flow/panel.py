"""A world whose upstreams are the members of one panel, asked together as `m`; each alone is `m0`, `m1` and so on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec import structs

from policies.estimate import Experience
from policies.plan import Planner, Route, Routes
from policies.vote import VoteRules
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.debate import Debate
from proxy.execution.members import Kit
from proxy.execution.quorum import Quorum
from proxy.execution.stake import Stake
from proxy.types import Mode, Outcome
from tests.flow.rungs import dearer
from tests.flow.world import Peer, Script, World, token

CHAT = b'{"model":"m","messages":[{"role":"user","content":"6 * 7?"}],"max_tokens":50}'
STREAMED = CHAT[:-1] + b',"stream":true}'


class Panel(World):
    """`members`: which upstream each is; by default each of them once. Each is dearer than the one before."""

    def __init__(
        self,
        *scripts: Script,
        votes: VoteRules | None = None,
        members: Sequence[int] = (),
        mode: Mode = "quorum",
        **more: object,
    ) -> None:
        super().__init__(*scripts, **more)  # type: ignore[arg-type]  # passed through as they came
        self.votes = votes or VoteRules()
        self.mode: Mode = mode
        self.order = tuple(members) or tuple(range(len(scripts)))

    async def __aenter__(self) -> Panel:
        await super().__aenter__()
        targets = self.snapshot.planner.routes.all[0].targets
        targets = tuple([structs.replace(each, price=dearer(each.price, at)) for at, each in enumerate(targets)])
        alone = tuple([Route(f"m{at}", (target,)) for at, target in enumerate(targets)])
        together = Route("m", mode=self.mode, members=tuple([alone[at] for at in self.order]))
        planner = Planner(Routes((*alone, together)), unpriced_allowed=self.snapshot.planner.unpriced_allowed)
        self.snapshot = structs.replace(self.snapshot, planner=planner, votes={"m": self.votes})
        kit = Kit(self.clock, OpenAI(), self.race, self.tasks)
        stake = Stake(self.clock, Experience())
        self.executors["quorum"] = Quorum(kit, stake)
        self.executors["debate"] = Debate(kit, stake)
        return self

    @property
    def asked(self) -> list[int]:
        """Requests that each upstream had."""
        return [len(upstream.requests) for upstream in self.upstreams]

    @property
    def last(self) -> Outcome:
        return self.outcomes[-1]

    @property
    def said(self) -> list[str]:
        return [decision.said for decision in self.last.decisions]


def reply(text: str, **message: object) -> bytes:
    """Of 10 tokens in and 5 out."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return msgspec.json.encode({"id": "c1", "object": "chat.completion", "choices": [choice], "usage": usage})


def says(*texts: str, after_s: float = 1.0) -> Script:
    """One text a request, the last again and again; a stream to whom asks for one."""
    left = list(texts)

    async def script(peer: Peer) -> None:
        text = left.pop(0) if len(left) > 1 else left[0]
        await asyncio.sleep(after_s)
        if peer.json.get("stream"):
            await _stream(peer, text)
        else:
            await peer.reply(reply(text))

    return script


async def _stream(peer: Peer, text: str) -> None:
    await peer.stream_head()
    await peer.chunk(b'data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}\n\n')
    for word in text.split(" "):
        await peer.chunk(token(f"{word} "))
        await asyncio.sleep(0.1)
    await peer.chunk(b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
    await peer.chunk(b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}\n\n')
    await peer.chunk(b"data: [DONE]\n\n")
    await peer.end()


async def fails(peer: Peer) -> None:
    await peer.reply(b'{"error":{"message":"no"}}', status="400 Bad Request")


async def broken(peer: Peer) -> None:
    peer.reset()
