from __future__ import annotations

from proxy.caching.recalled import Recalled
from tests.proxy.caching.samples import kept


async def test_a_known_answer_is_whole_and_costs_nothing() -> None:
    recalled = Recalled(kept())
    assert (recalled.target_id, recalled.target.provider, recalled.target.model) == ("up/real", "up", "real")
    assert recalled.target.price is None
    assert recalled.first == kept().body
    assert await recalled.read() is None
    await recalled.end("complete")
    await recalled.read_trailer()
    assert "xxx" not in repr(recalled)
