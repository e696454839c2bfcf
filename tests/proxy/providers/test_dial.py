from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from functools import partial

import pytest
from aiohappyeyeballs import AddrInfoType

from proxy.errors import ProxyError
from proxy.providers.dial import FRESH_S, NAMES_MAX, STALE_S, Dialer, Names, Origin
from proxy.providers.line import Line
from proxy.providers.pool import Pool
from tests.proxy.providers.misbehaving import OK, always, upstream


def address(host: str, port: int = 80) -> AddrInfoType:
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


class NameServer:
    """Answers with `addresses`, or fails."""

    def __init__(self, *addresses: AddrInfoType) -> None:
        self.addresses = addresses
        self.fails = False
        self.takes_s = 0.0
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[AddrInfoType]:
        self.asked += 1
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise OSError(socket.EAI_AGAIN, "no answer")
        return self.addresses


async def test_a_name_is_asked_for_once_while_its_answer_is_fresh_and_each_address_has_its_turn() -> None:
    server = NameServer(a := address("192.0.2.1"), b := address("192.0.2.2"))
    names = Names(server)
    assert [await names.addresses("up.test", 80) for _ in range(3)] == [[a, b], [b, a], [a, b]]
    assert server.asked == 1
    await asyncio.sleep(FRESH_S)
    server.addresses = (b,)
    assert await names.addresses("up.test", 80) == [b] and server.asked == 2


async def test_many_who_ask_at_once_ask_once_and_one_who_leaves_takes_nobody_along() -> None:
    server = NameServer(address("192.0.2.1"))
    server.takes_s = 1.0
    names = Names(server)
    waiting = [asyncio.get_running_loop().create_task(names.addresses("up.test", 80)) for _ in range(20)]
    await asyncio.sleep(0.5)
    waiting[0].cancel()
    found = await asyncio.gather(*waiting[1:])
    assert all(found) and server.asked == 2


async def test_a_name_server_that_fails_is_no_matter_while_the_last_address_may_still_be_good() -> None:
    server = NameServer(address("192.0.2.1"))
    names = Names(server)
    good = await names.addresses("up.test", 80)
    server.fails = True
    await asyncio.sleep(STALE_S)
    assert await names.addresses("up.test", 80) == good
    await asyncio.sleep(1)
    with pytest.raises(OSError, match="no answer"):
        await names.addresses("up.test", 80)


async def test_no_address_is_a_failure() -> None:
    with pytest.raises(OSError, match="no address"):
        await Names(NameServer()).addresses("up.test", 80)


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
async def test_an_address_needs_no_name_server(host: str, family: socket.AddressFamily) -> None:
    server = NameServer()
    ((found, *_, place),) = await Names(server).addresses(host, 80)
    assert (found, place[:2], server.asked) == (family, (host, 80), 0)


async def test_names_are_kept_within_bounds() -> None:
    names = Names(server := NameServer(address("192.0.2.1")))
    for number in range(NAMES_MAX + 2):
        await names.addresses(f"up{number}.test", 80)
    assert server.asked == NAMES_MAX + 2 and len(names._known) == 2


# --- connections


def origin(port: int, host: str = "up.test") -> Origin:
    return Origin(scheme="http", host=host, port=port, place=f"{host}:{port}")


async def dial(dialer: Dialer, to: Origin) -> Line:
    return await dialer.dial(to, partial(Line, Pool(60), to.key, asyncio.get_running_loop()))


async def fails(dialer: Dialer, to: Origin) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await dial(dialer, to)
    assert caught.value.sent is False
    return caught.value


async def test_the_next_address_is_tried_where_one_refuses() -> None:
    async with upstream(always(OK)) as peer:
        server = NameServer(address("127.0.0.2", peer.port), address("127.0.0.1", peer.port))
        line = await dial(Dialer(5.0, tls=None, resolve=server), origin(peer.port))
        assert line.alive
        line.abort()


async def test_the_systems_resolver_knows_localhost() -> None:
    async with upstream(always(OK)) as peer:
        line = await dial(Dialer(5.0, tls=None, resolve=None), origin(peer.port, "localhost"))
        assert line.alive
        line.abort()


async def test_small_writes_do_not_wait_for_one_another() -> None:
    async with upstream(always(OK)) as peer:
        line = await dial(Dialer(5.0, tls=None, resolve=None), origin(peer.port, "127.0.0.1"))
        bare: socket.socket = line._transport.get_extra_info("socket")
        assert bare.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        line.abort()


async def test_a_slow_name_server_counts_against_the_time_to_connect() -> None:
    server = NameServer(address("127.0.0.1"))
    server.takes_s = 10.0
    error = await fails(Dialer(2.0, tls=None, resolve=server), origin(80))
    assert (error.code, error.message) == ("upstream_timeout", "up.test:80 did not accept a connection within 2 s")


async def test_a_gate_without_sockets_says_so() -> None:
    def no_socket() -> Line:
        raise OSError(errno.EMFILE, "too many")

    async with upstream(always(OK)) as peer:
        with pytest.raises(ProxyError) as caught:
            await Dialer(5.0, tls=None, resolve=None).dial(origin(peer.port, "127.0.0.1"), no_socket)
    assert (caught.value.code, caught.value.retry_after_s, caught.value.sent) == ("overloaded", 1, False)


@pytest.mark.parametrize("host", ["", "a" * 70 + ".test", "a..test"])
async def test_a_name_that_cannot_be_one_is_unreachable(host: str) -> None:
    assert (await fails(Dialer(5.0, tls=None, resolve=None), origin(9, host))).code == "upstream_unreachable"
