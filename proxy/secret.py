"""A value that must not be seen: provider credentials, gate keys, the admin token.

Whatever prints, formats, logs, pickles or serialises a `Secret` gets the same eight asterisks or an error; only
`reveal()` gives the text, and only whoever sends it upstream should call that. Two secrets are compared in constant
time. Text that was read from a configuration file keeps the way it was written there.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn

from pydantic_core import core_schema

MASK = "********"


class Secret:
    """Text with a constant `repr`. Equal to another `Secret` of the same text, never to the text itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def digest(self) -> str:
        """Stands for the secret where only a change of it matters."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not copied out of the process")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._of, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def _of(cls, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        text = getattr(value, "written", value)  # 1234 is a valid secret; a file's reader keeps how it was written
        if not isinstance(text, str):
            raise ValueError("Input should be text")
        if text != text.strip() or not (text.isascii() and text.isprintable()):
            raise ValueError("Input should be printable ASCII without blanks around it")  # it travels in a header
        return cls(text)
