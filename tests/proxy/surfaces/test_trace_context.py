"""A caller's trace is continued where what it sends is one, and never otherwise."""

from __future__ import annotations

import pytest

from proxy.surfaces.trace_context import NOWHERE, continued

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("traceparent", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", (TRACE, SPAN)),
        (f"00-{TRACE}-{SPAN}-00", (TRACE, SPAN)),
        (f"cc-{TRACE}-{SPAN}-01-of-a-later-version", (TRACE, SPAN)),
        (f"ff-{TRACE}-{SPAN}-01", NOWHERE),
        (f"00-{TRACE.upper()}-{SPAN}-01", NOWHERE),
        (f"00-{'0' * 32}-{SPAN}-01", NOWHERE),
        (f"00-{TRACE}-{'0' * 16}-01", NOWHERE),
        (f"00-{TRACE}-{SPAN}", NOWHERE),
        (f"00-{TRACE[:-1]}g-{SPAN}-01", NOWHERE),
        ("", NOWHERE),
        (None, NOWHERE),
    ],
)
def test_traceparent(traceparent: str | None, found: tuple[str, str]) -> None:
    assert continued(traceparent) == found
