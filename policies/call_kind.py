"""What kind of work a call is, coarsely: how long its prompt is, what it is about, and in which script it is written.

Models differ by kind more than by call, so what is learnt of one call is learnt of its kind. It is told from a few
bytes at the prompt's end, where the question stands, by patterns and not by a model: a kind may be wrong, as long as it
is the same for calls that are alike. Only learning asks for it.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.types import Call

LOOKED_AT: Final = 4_096  # bytes of the prompt's end
_CODE: Final = re.compile(
    rb"```|\bdef \w|\bclass \w|\bimport \w|[;{]\\n|\bfunction\b|#include|\bSELECT\b.{1,80}\bFROM\b"
)
_MATHS: Final = re.compile(
    rb"\d ?[-+*/=^] ?\d|\\\\(?:frac|sum|sqrt|int)\b"
    rb"|\b(?:how (?:many|much)|solve|calculate|compute|prove|equation)\b",
    re.I,
)
_ESCAPED: Final = re.compile(rb"\\u([0-9a-fA-F]{4})")
SCRIPTS: Final = (  # from the lead byte of their UTF-8 on
    (0xE3, "cjk"),  # kana, han, hangul; above it the rarer planes
    (0xE0, "indic"),
    (0xD6, "semitic"),
    (0xD0, "cyrillic"),
    (0xCE, "greek"),
)


def kind_of(call: Call) -> str:
    """As in `11 code latin`: the octave of its tokens, its matter, its script."""
    end = call.raw[-LOOKED_AT:]
    return f"{call.input_tokens_estimate.bit_length()} {_matter(call, end)} {_script(end)}"


def _matter(call: Call, end: bytes) -> str:
    fields = call.head.fields or {}
    if "tools" in fields or "functions" in fields:
        return "tools"
    if "response_format" in fields:
        return "json"
    if _CODE.search(end):
        return "code"
    return "maths" if _MATHS.search(end) else "text"


def _script(end: bytes) -> str:
    """Latin, unless a tenth of it is written in another one."""
    leads = [byte for byte in end if byte >= 0xC8]
    leads += [chr(point).encode()[0] for word in _ESCAPED.findall(end) if 0x0200 <= (point := int(word, 16)) < 0xD800]
    if 10 * len(leads) < len(end) / 3:  # one takes about three bytes
        return "latin"
    middle = sorted(leads)[len(leads) // 2]
    return next((name for lead, name in SCRIPTS if middle >= lead), "latin")
