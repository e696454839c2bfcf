"""A run that may not go on, in words: what an operator said of it, or which of its limits a call would break.

Killed, too old and too deep are final: the client is told not to try again. Paused and too wide pass by themselves, so
those refusals carry a time. The error object names the run it is about, which may be one above the caller's.
"""

from __future__ import annotations

from typing import Final

from policies.runs import Excess, Stop
from proxy.errors import ProxyError
from proxy.tenancy import run_name

RETRY_PAUSED_S: Final = 10.0  # nobody knows when it goes on; SDKs wait so long, twice
RETRY_WIDTH_S: Final = 1.0  # calls end at any moment


def run_stopped(stop: Stop) -> ProxyError:
    run = run_name(stop.run)
    name, details = _shown(run), {"run": run}
    if stop.mark == "killed":
        return ProxyError("run_killed", f"The run {name} was ended by an operator.", details=details)
    message = f"The run {name} was paused by an operator; it goes on when it is resumed."
    return ProxyError("run_paused", message, retry_after_s=RETRY_PAUSED_S, details=details)


def run_limit_exceeded(excess: Excess) -> ProxyError:
    run = run_name(excess.run)
    details = {"run": run, "limit": excess.limit, "allowed": excess.allowed, "value": round(excess.value, 3)}
    name = _shown(run)
    if excess.limit == "width":
        message = f"The run {name} may have {excess.allowed:g} calls or child runs at the same time, and has them."
        return ProxyError("run_width_exceeded", message, retry_after_s=RETRY_WIDTH_S, details=details)
    if excess.limit == "seconds":
        message = f"The run {name} began {excess.value:.0f} s ago and may last {excess.allowed:g} s."
    else:
        message = (
            f"The tree of run {name} may have {excess.allowed:g} levels; this call stands at level {excess.value:g}."
        )
    return ProxyError("run_limit_exceeded", message, details=details)


def _shown(run: str) -> str:
    """Names come from clients."""
    return repr(ascii(run)[1:-1][:64])
