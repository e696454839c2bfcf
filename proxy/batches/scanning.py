"""Reads the input of a batch: which lines ask for what, where they stand, and what is wrong with the file.

Sans-io: pieces of the file are fed, and where each request begins and ends is kept, never its text. What is checked is
what makes a line a request of this batch (OpenAI API reference, "The request input object"); whether its body can be
answered is found out when it is asked, and is that line's error alone. Lines may ask different models.
"""

from __future__ import annotations

import re
from array import array
from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from proxy.batches.objects import Problem
from proxy.dialects.json_body import object_of

PROBLEMS_MAX: Final = 20  # after so many nothing more is read
ID_CHARS_MAX: Final = 512
LINE_MAX: Final = 32 * 1024 * 1024  # bytes: one is in memory as a whole, and holds up the process while it is parsed

_FIELD: Final = re.compile(r"field `([^`]+)`|`\$\.([^`]+)`")


class Line(Struct, frozen=True):
    custom_id: str
    method: str
    url: str
    body: Raw


class _Body(Struct):
    model: str
    stream: bool | None = None


_LINE: Final = msgspec.json.Decoder(Line)
_BODY: Final = msgspec.json.Decoder(_Body)


def line_of(text: bytes) -> Line:
    """Raises ValueError, msgspec.ValidationError being one, and RecursionError."""
    try:
        return _LINE.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:  # a lone surrogate is legal in a body (RFC 8259, 8.2); what else it was is found here
        fields = object_of(text)
    body = fields.pop("body", Raw(b"null"))
    return structs.replace(_LINE.decode(msgspec.json.encode({**fields, "body": None})), body=body)


class Scan:
    """Feed it the file, piece by piece, then close it."""

    def __init__(self, endpoint: str, lines_max: int) -> None:
        self.problems: list[Problem] = []
        self.starts = array("Q")  # of each request, in bytes from the beginning of the file
        self.sizes = array("Q")
        self._endpoint = endpoint
        self._lines_max = lines_max
        self._ids: dict[str, int] = {}  # and the line that has it
        self._rest: list[bytes] = []  # of the line that is coming: joined once
        self._rest_bytes = 0
        self._at = 0  # where the rest begins
        self._number = 0
        self._full = False

    def __repr__(self) -> str:
        return f"Scan({len(self.starts)} requests, {len(self.problems)} problems)"

    @property
    def given_up(self) -> bool:
        return self._full or len(self.problems) >= PROBLEMS_MAX

    def feed(self, piece: bytes) -> None:
        at = 0
        while not self.given_up and (end := piece.find(b"\n", at)) >= 0:
            self._add(piece[at:end])
            self._end_line(1)
            at = end + 1
        self._add(piece[at:])

    def close(self) -> None:
        if not self.given_up:
            self._end_line(0)
        self._rest.clear()
        self._ids.clear()
        if not self.starts and not self.problems:
            self.problems.append(Problem("empty_file", "The file holds no request."))

    def _add(self, text: bytes) -> None:
        self._rest.append(text)
        self._rest_bytes += len(text)
        if self._rest_bytes > LINE_MAX and not self.given_up:
            what = f"A line has at most {LINE_MAX} bytes."
            self.problems.append(Problem("line_too_long", what, self._number + 1))
            self._full = True

    def _end_line(self, between: int) -> None:
        """`between`: bytes that part it from the next."""
        if not self._full:
            self._line(b"".join(self._rest), self._at)
        self._at += self._rest_bytes + between
        self._rest.clear()
        self._rest_bytes = 0

    def _line(self, text: bytes, start: int) -> None:
        self._number += 1
        if not text.strip():
            return  # such as behind the last one
        if len(self.starts) >= self._lines_max:
            what = f"A batch has at most {self._lines_max} requests."
            self.problems.append(Problem("too_many_requests", what, self._number))
            self._full = True
            return
        problem = self._problem_of(text)
        if problem is not None:
            self.problems.append(problem)
            return
        self.starts.append(start)
        self.sizes.append(len(text))

    def _problem_of(self, text: bytes) -> Problem | None:
        try:
            line = line_of(text)
        except msgspec.ValidationError as error:
            return self._misshapen(str(error), "")
        except (ValueError, RecursionError) as error:
            return Problem("invalid_json_line", f"This line is not valid JSON: {error}.", self._number)
        if line.method != "POST":
            return Problem("invalid_method", "The method must be POST.", self._number, "method")
        if line.url != self._endpoint:
            what = f"The url must be that of the batch, {self._endpoint}."
            return Problem("mismatched_url", what, self._number, "url")
        if not 0 < len(line.custom_id) <= ID_CHARS_MAX:
            what = f"A custom_id has 1 to {ID_CHARS_MAX} characters."
            return Problem("invalid_custom_id", what, self._number, "custom_id")
        first = self._ids.setdefault(line.custom_id, self._number)
        if first != self._number:
            what = f"The custom_id of this line is that of line {first}."
            return Problem("duplicate_custom_id", what, self._number, "custom_id")
        return self._body(bytes(line.body))

    def _body(self, text: bytes) -> Problem | None:
        try:
            body = _BODY.decode(text)
        except msgspec.ValidationError as error:
            return self._misshapen(str(error), "body.")
        except (ValueError, RecursionError):
            return None  # a lone surrogate, which is legal: whoever asks it reads it, and refuses a stream
        if body.stream:
            return Problem("invalid_request", "A batch has no streams.", self._number, "body.stream")
        return None

    def _misshapen(self, why: str, within: str) -> Problem:
        named = _FIELD.search(why)
        param = within + (named[1] or named[2]) if named is not None else within.rstrip(".") or None
        code = "missing_required_parameter" if "missing required" in why else "invalid_type"
        return Problem(code, f"{why}.", self._number, param)
