"""Whether a text fits a JSON schema, or has a match of a pattern: by libraries, in bounded size, depth and time.

Schemas come from clients, so nothing in one may make the gate wait: each use of a keyword is a step, steps are
counted, patterns have a time limit, and no reference leads out of the schema. What cannot be told within the bounds is
a fault, as a cascade would rather ask a better model than guess. JSON Schema 2020-12; loaded by name when a cascade is
configured, because the library takes a tenth of a second and nine megabytes.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import UnknownType, ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

SCHEMA_BYTES_MAX: Final = 32 * 1024
TEXT_CHARS_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 64
STEPS_MAX: Final = 10_000
PATTERN_S: Final = 0.02
KEPT_MAX: Final = 64  # schemas that were read before
SHOWN_CHARS: Final = 160
REFUSED: Final = frozenset({"patternProperties"})  # the library runs their patterns itself, without a limit


_Errors = Iterator[ValidationError]
_Keyword = Callable[[Validator, object, object, object], _Errors | None]


class _TooMuch(Exception):
    """The bounds do not allow to tell. Its text says which."""


class _Steps:
    """How many are left of one check."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise _TooMuch("it takes too long to check")


class Forms:
    """Implements `accept.Forms`; one in each process."""

    def __init__(self) -> None:
        self._steps = _Steps()
        keywords = {name: _Counted(check, self._steps) for name, check in _keywords().items()}
        self._validator: type[Draft202012Validator] = extend(  # type: ignore[no-untyped-call]  # by its stubs
            Draft202012Validator, validators=keywords
        )
        self._known: OrderedDict[bytes, Validator | str] = OrderedDict()

    def __repr__(self) -> str:
        return f"Forms({len(self._known)} schemas)"

    def fault(self, schema: bytes, text: str) -> str | None:
        if len(text) > TEXT_CHARS_MAX:
            return "it is too long to be checked"
        known = self._schema(schema)
        if isinstance(known, str):
            return known
        return self._first(known, text)

    def finds(self, pattern: str, text: str) -> bool | str:
        try:
            return regex.search(pattern, text, timeout=PATTERN_S) is not None
        except TimeoutError:
            return "the pattern takes too long on it"
        except regex.error:
            return "the pattern cannot be read"

    def _schema(self, schema: bytes) -> Validator | str:
        """What checks by it, or why nothing can."""
        found = self._known.get(schema)
        if found is None:
            found = self._known[schema] = self._read(schema)
            if len(self._known) > KEPT_MAX:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(schema)
        return found

    def _read(self, schema: bytes) -> Validator | str:
        if len(schema) > SCHEMA_BYTES_MAX:
            return "its schema is too long to be checked"
        try:
            read = json.loads(schema)
        except (ValueError, RecursionError):
            return "its schema is not JSON"
        if not isinstance(read, dict) or not _is_plain(read, DEPTH_MAX):
            return "its schema is one that is not checked"
        return self._validator(read, registry=Registry())

    def _first(self, validator: Validator, text: str) -> str | None:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return "it is not JSON"
        self._steps.left = STEPS_MAX
        try:
            error = best_match(validator.iter_errors(value))
        except _TooMuch as bound:
            return str(bound)
        except RecursionError:
            return "it is nested too deeply to be checked"
        except Unresolvable:
            return "its schema refers to what is not in it"
        except (TypeError, ValueError, LookupError, AttributeError, UnknownType, regex.error):
            return "its schema is none"  # to find that out beforehand takes longer than to check by it
        return None if error is None else _words(error)


def _words(error: ValidationError) -> str:
    """Where and against which keyword: the value itself is the answer's, and stays out of logs."""
    place = "/".join([str(part)[:40] for part in error.absolute_path]) or "its top"
    wanted, given = error.validator_value, error.instance
    missing: list[str] = []
    if error.validator == "required" and isinstance(wanted, list) and isinstance(given, dict):
        missing = [str(name) for name in wanted if name not in given]
    what = f"{', '.join(missing)} missing" if missing else f"against {error.validator!r}"
    return f"{place}: {what}"[:SHOWN_CHARS]


def _keywords() -> dict[str, _Keyword]:
    return {**Draft202012Validator.VALIDATORS, "pattern": _pattern, "uniqueItems": _unique}


class _Counted:
    """One keyword, of which each use is a step."""

    __slots__ = ("_check", "_steps")

    def __init__(self, check: _Keyword, steps: _Steps) -> None:
        self._check = check
        self._steps = steps

    def __repr__(self) -> str:
        return f"_Counted({self._check!r})"

    def __call__(self, validator: Validator, value: object, instance: object, schema: object) -> _Errors | None:
        self._steps.take(1 + (len(value) if isinstance(value, list | dict) else 0))
        return self._check(validator, value, instance, schema)


def _pattern(validator: Validator, pattern: object, instance: object, schema: object) -> _Errors:
    if not (isinstance(instance, str) and isinstance(pattern, str)):
        return
    try:
        if regex.search(pattern, instance, timeout=PATTERN_S) is None:
            yield ValidationError("no match")
    except TimeoutError:
        raise _TooMuch("a pattern of its schema takes too long") from None


def _unique(validator: Validator, wanted: object, instance: object, schema: object) -> _Errors:
    """The library compares each with each."""
    if wanted is True and isinstance(instance, list):
        texts = {json.dumps(item, sort_keys=True) for item in instance}
        if len(texts) < len(instance):
            yield ValidationError("not unique")


def _is_plain(value: object, depth: int) -> bool:
    """Whether nothing in a schema is refused or too deep."""
    if depth == 0:
        return False
    if isinstance(value, Mapping):
        return not (REFUSED & value.keys()) and all(_is_plain(inner, depth - 1) for inner in value.values())
    return not isinstance(value, list) or all(_is_plain(inner, depth - 1) for inner in value)
