"""The store of accounts, as the way of a call sees it: hold before anything is sent, end the hold exactly once.

A call has one reservation. It is taken by its first attempt, raised when a further one needs more, and ended by `post`
(something was sent) or `void` (nothing was). Ending never waits, so nothing can interrupt it. A caller that is
cancelled while it waits in `reserve` or `extend` holds no more than before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from proxy.errors import ProxyError
from proxy.holds import Left, Reservation
from proxy.pressure import Pressure
from proxy.types import Amounts, Charge

Ask = Callable[[Left], Amounts]
"""What a call needs, given what the limits of its path leave it. May be asked again with another figure when the call
had to wait."""


class Store(Protocol):
    def limited(self, path: tuple[str, ...]) -> bool:
        """Whether any account of the path has a limit; a call over which none stands holds nothing."""
        ...

    async def reserve(self, id: str, path: tuple[str, ...], ask: Ask, *, ttl_s: float) -> Reservation | ProxyError:
        """On all accounts of the path, or on none. A repeat of an id returns what the first attempt got. The error is
        `budget_exceeded` or `ledger_unavailable`."""
        ...

    async def extend(self, reservation: Reservation, total: Amounts) -> Reservation | ProxyError:
        """Raises the hold to `total` where that is more; after an error it stands as it was."""
        ...

    def mark(self, reservation: Reservation, reached: Amounts) -> None:
        """What the call would cost by now; counts only if this process dies before the next mark, or the end."""
        ...

    def post(self, reservation: Reservation, used: Amounts) -> tuple[Charge, ...]:
        """Ends the hold with what was used, and says what each limit was charged. The second time: nothing."""
        ...

    def void(self, reservation: Reservation) -> None:
        """Ends the hold of a call that sent nothing."""
        ...

    def left(self, path: tuple[str, ...]) -> Left: ...

    def pressure(self, path: tuple[str, ...]) -> Pressure:
        """How near the path is to the end of a budget; asked once a call, before it is planned."""
        ...
