"""An upstream in a process of its own, with random replies and its own true bill; run as `python vendor.py PORT`.

It honours `max_tokens`, takes a moment for each answer, and bills a call in the moment it is asked: whoever hangs up
pays all the same. A stream is billed by what was sent of it, a token every twenty milliseconds, until the client hangs
up. `GET /bill` tells the sum and how many calls it was asked for.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

PRICE_IN, PRICE_OUT = 1_000, 2_000  # nano-dollars a token
PROMPT = 10  # tokens


class Vendor:
    def __init__(self) -> None:
        self.usd_nanos = 0
        self.calls = 0
        self._random = random.Random(7)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /bill"):
            await self._write(writer, {"usd_nanos": self.usd_nanos, "calls": self.calls})
            return True
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-le")
        )
        asked = json.loads(await reader.readexactly(length))
        limit = asked.get("max_completion_tokens") or asked["max_tokens"]
        if asked.get("stream"):
            return await self._stream(writer, limit)
        tokens = self._random.randint(1, limit)
        prompt = PROMPT
        self.calls += 1
        self.usd_nanos += prompt * PRICE_IN + tokens * PRICE_OUT
        await asyncio.sleep(self._random.uniform(0.005, 0.1))
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
        message = {"role": "assistant", "content": "x"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await self._write(writer, {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})
        return True

    async def _stream(self, writer: asyncio.StreamWriter, limit: int) -> bool:
        self.calls += 1
        self.usd_nanos += PROMPT * PRICE_IN
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for number in range(limit):
            delta = {"content": f"{number:03} "[:4]}
            event = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
            self.usd_nanos += PRICE_OUT
            writer.write(b"data: %b\n\n" % json.dumps(event).encode())
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        return False

    async def _write(self, writer: asyncio.StreamWriter, content: object) -> None:
        body = json.dumps(content).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        await writer.drain()


async def main(port: int) -> None:
    server = await asyncio.start_server(Vendor().serve, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
