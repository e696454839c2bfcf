"""Did the gate do its whole work while it was measured? Its own metrics must know every answered call, with its price.

A gate that forgets to meter is fast. Calls that the load client broke off at the end of a run may be known besides, so
its count is at least ours.
"""

from __future__ import annotations

import re
import time
import urllib.request

from .systems import System

PRICED_CALLS = "headgate_request_cost_usd_count"
SPENT_USD = "headgate_spend_usd_total"
SETTLE_S = 0.5  # the last calls end a moment after their last byte


def priced_calls(system: System) -> int:
    """Calls that the gate has a cost for; 0 if it spent nothing."""
    time.sleep(SETTLE_S)
    with urllib.request.urlopen(f"http://127.0.0.1:{system.admin_port}/metrics", timeout=10.0) as reply:
        text = reply.read().decode()
    return round(total(text, PRICED_CALLS)) if total(text, SPENT_USD) > 0 else 0


def total(text: str, name: str) -> float:
    """The sum over all series of one sample name in the Prometheus text format."""
    values = re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)", text, re.MULTILINE)
    return sum(float(value) for value in values)
