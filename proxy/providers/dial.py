"""How a connection comes about: addresses of a name, the fastest of them (RFC 8305), TLS where the origin wants it.

It decides what a failure on this way means; none of them has sent a byte of a request. Addresses are kept for as long
as a name server's answer is worth, and longer where the name server fails: its fault is seldom the upstream's end.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType
from msgspec import Struct, field

from proxy.errors import ProxyError
from proxy.providers.line import Line

FRESH_S = 10.0
STALE_S = 600.0  # how old an address may be when the name server fails
NAMES_MAX = 1024
RECEIVE_BYTES = 256 * 1024  # 2.5 MB a second over a way of 100 ms
NEXT_ADDRESS_S = 0.25  # RFC 8305's connection attempt delay
OUT_OF_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS})

Resolve = Callable[[str, int], Awaitable[Sequence[AddrInfoType]]]


class Origin(Struct, frozen=True):
    scheme: str
    host: str
    port: int
    place: str  # host and port, for messages and the Host header: never userinfo, path or query

    @property
    def key(self) -> str:
        return f"{self.scheme}://{self.place}"


class _Known(Struct):
    """What is known of a name. The lock lets one caller ask for all."""

    addresses: list[AddrInfoType]
    at: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Names:
    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._known: dict[tuple[str, int], _Known] = {}

    async def addresses(self, host: str, port: int) -> list[AddrInfoType]:
        """Never empty; another one first each time. Raises OSError or, for a name that cannot be one, ValueError."""
        try:
            return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)]
        except socket.gaierror:
            pass  # a name
        known = self._known.get((host, port))
        if known is None:
            if len(self._known) >= NAMES_MAX:
                self._known.clear()
            known = self._known[host, port] = _Known([], at=float("-inf"))
        async with known.lock:
            await self._refresh(known, host, port)
        addresses = known.addresses
        known.addresses = addresses[1:] + addresses[:1]
        return addresses

    async def _refresh(self, known: _Known, host: str, port: int) -> None:
        now = asyncio.get_running_loop().time()
        if now - known.at < FRESH_S:
            return
        try:
            addresses = list(await self._resolve(host, port))
            if not addresses:
                raise OSError(f"no address for {host}")
        except OSError:
            if now - known.at > STALE_S:
                raise
        else:
            known.addresses, known.at = addresses, now


class Dialer:
    def __init__(self, connect_s: float, *, tls: ssl.SSLContext | None, resolve: Resolve | None) -> None:
        """`connect_s` covers name, address and handshake."""
        self._connect_s = connect_s
        self._tls = tls
        self._names = Names(resolve or _resolve)

    async def dial(self, origin: Origin, make: Callable[[], Line]) -> Line:
        place = origin.place
        try:
            async with asyncio.timeout(self._connect_s):
                addresses = await self._addresses(origin)
                return await self._connect(origin, make, addresses)
        except TimeoutError as error:
            message = f"{place} did not accept a connection within {self._connect_s:g} s"
            raise ProxyError("upstream_timeout", message, sent=False) from error
        except ssl.SSLError as error:
            raise _unreachable(f"The TLS handshake with {place} failed: {_tls_reason(error)}") from error
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: how uvloop says some of them
            if isinstance(error, OSError) and error.errno in OUT_OF_SOCKETS:
                message = "The gate has no socket left for an upstream."
                raise ProxyError("overloaded", message, retry_after_s=1, sent=False) from error
            raise _unreachable(f"{place} could not be connected to") from error

    async def _addresses(self, origin: Origin) -> list[AddrInfoType]:
        try:
            return await self._names.addresses(origin.host, origin.port)
        except (OSError, ValueError) as error:
            raise _unreachable(f"{origin.place} could not be resolved") from error

    async def _connect(self, origin: Origin, make: Callable[[], Line], addresses: list[AddrInfoType]) -> Line:
        loop = asyncio.get_running_loop()
        tls, name = None, None
        if origin.scheme == "https":
            if self._tls is None:  # reading the authorities takes long enough to be felt
                self._tls = await loop.run_in_executor(None, _trusting_the_system)
            tls, name = self._tls, origin.host.rstrip(".")
        sock = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1, loop=loop, socket_factory=_socket
        )
        _, line = await loop.create_connection(make, sock=sock, ssl=tls, server_hostname=name)
        return line


def _socket(address: AddrInfoType) -> socket.socket:
    """What an upstream makes for a client that does not read is bounded by what the socket takes; left to itself the
    system lets it grow to megabytes."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    return made


async def _resolve(host: str, port: int) -> Sequence[AddrInfoType]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _trusting_the_system() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _unreachable(message: str) -> ProxyError:
    return ProxyError("upstream_unreachable", message, sent=False)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(error.reason or "refused")
