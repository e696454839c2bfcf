"""How an attempt came to its end: what the bill calls it, what the policies learn from it, and in which words a wait
that was in vain is told.
"""

from __future__ import annotations

from typing import Final

from policies.settle import Ending
from proxy.errors import REJECTIONS, ProxyError
from proxy.execution.reading import Reading
from proxy.types import Lesson

OVERLOADED: Final = frozenset({"upstream_overloaded", "upstream_timeout", "upstream_stalled"})
OVER: Final = "The deadline of this call passed "


def lesson(ending: Ending, error: ProxyError | None) -> Lesson:
    """What a caller got wrong, or a policy decided, says nothing of the target."""
    if ending == "complete":
        return "success"
    if error is None or error.source != "upstream" or error.code in REJECTIONS:
        return "ignore"
    return "overload" if error.code in OVERLOADED or error.status == 503 else "failure"


def ending_of(reading: Reading | None, error: ProxyError) -> Ending:
    if not error.sent:
        return "unsent"
    if reading is None:
        return "cut"
    empty = reading.passage is not None and not reading.passage.content
    return "refused" if reading.status != 200 or (empty and error is reading.fault) else "cut"


def too_late(target: str, reading: Reading | None, first_token_s: float, *, over: bool) -> ProxyError:
    """`over`: the call's deadline has passed."""
    if over:
        return ProxyError("deadline_exceeded", f"{OVER}before the model answered.")
    what = "answer" if reading is None else "produce its first token"
    return ProxyError("upstream_timeout", f"{target} did not {what} within {first_token_s:g} s.")


def stalled(target: str, *, over: bool) -> ProxyError:
    if over:
        return ProxyError("deadline_exceeded", f"{OVER}while the model was answering.")
    return ProxyError("upstream_stalled", f"{target} stopped sending in the middle of its reply.")
