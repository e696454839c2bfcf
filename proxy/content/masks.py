"""Which parts of a text are nobody's to keep: credentials by their shape, and on request mail addresses and numbers of
phones.

A shape is a guess: it finds the keys of well-known vendors, what is called a key, a token or a password, JWTs (RFC
7519), PEM blocks (RFC 7468) and cookies; a secret without a shape, such as a sentence, passes. Each begins with one of
a few words, which are looked for first: that is twenty times faster than expressions alone, which would hold up the
whole process. Every text takes time in proportion to its length.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from string import ascii_letters, digits
from typing import Final, Literal, get_args

from msgspec import Struct

Optional = Literal["mail", "phone"]

OPTIONAL: Final[tuple[Optional, ...]] = get_args(Optional)
BEFORE_MAX: Final = 64
WORD_MAX: Final = 16
PRESENTED: Final = "[presented key]"
_START: Final = r"(?<![A-Za-z0-9_-])"  # of a word with dashes: it is looked at from its beginning alone
_KEYS: Final = (
    *("api", "access", "account", "auth", "encryption", "master", "private", "secret", "service", "shared"),
    *("signing", "ssh", "subscription"),
)
_PASSWORDS: Final = r"(?:pass(?:w(?:or)?ds?|phrases?|codes?)|pwd|(?<=_)pass)"
_NAMES: Final = (
    rf"(?:(?i:(?:{'|'.join(_KEYS)})[ _-]?(?:access[ _-]?)?keys?|{_PASSWORDS}|secrets?|secret_key_base|authorization|"
    r"credentials?|(?:access|refresh|auth|bearer|session)[ _-]?tokens|token)|(?<=[A-Z0-9])_KEY)"
)
_IS: Final = r"[\\\"'`*\]]{0,8}\s{0,4}[:=]{1,2}>?\*{0,2}\s{0,4}"  # in JSON within JSON, in code, in Markdown
_QUOTED: Final = r"(\\{0,7}[\"'`])(?:(?!(?<!\\)\1)[^\r\n]){1,8000}"  # its end is not asked for: a text may be torn
_BARE: Final = (
    r"(?i:(?:bearer|basic|token)\s{1,4})?(?!(?:true|false|null|None)(?:[\s,;}\])]|\Z))"
    r"[^\s\"'`,;\\\[{][^\s\"',;\\]{0,8000}"
)
_VALUE: Final = rf"(?:{_QUOTED}|{_BARE}|\[[^\[\]{{}}]{{1,8000}})"
_SECRET_NAME: Final = re.compile(rf"{_NAMES}$")
_VENDORS: Final = (
    "sk",
    "pk",
    "rk",
    "hg",
    "xai",
    "gsk",
    "hf",
    "csk",
    "fw",
    "r8",
    "pplx",
    "nvapi",
    "npm",
    "glpat",
    "whsec",
)


class Shape(Struct, frozen=True):
    """`expression` is tried where one of `words` stands (in lower case), or in front of it where letters of `before`
    do."""

    name: str
    words: tuple[str, ...]
    expression: re.Pattern[str]
    before: str = ""


def _shape(name: str, words: tuple[str, ...], expression: str, before: str = "") -> Shape:
    return Shape(name, words, re.compile(expression), before)


_SHAPES: Final = (
    _shape(
        "private key",
        ("-----begin ",),
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
    ),
    _shape("jwt", ("eyj",), _START + r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    _shape(
        "key",
        tuple([vendor + dash for vendor in _VENDORS for dash in "-_"]),
        _START + r"[a-z0-9]{2,5}[-_][A-Za-z0-9_-]{16,}",
    ),
    _shape(
        "key",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "akia", "asia", "aiza", "ya29.", "sg."),
        _START + r"(?:(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{20,}|xox[a-z]-[A-Za-z0-9-]{10,}"
        r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}"
        r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
    ),
    _shape("cookie", ("cookie",), r"(?i:cookie2?[\"']?\s{0,4}[:=])[^\r\n]{1,8000}"),
    _shape("credential", ("bearer", "basic"), r"(?i:(?<![a-z])(?:bearer|basic)\s{1,4})[A-Za-z0-9._~+/-]{12,}={0,2}"),
    _shape("credential", ("://",), r"://[^\s/:@]{1,256}:[^\s/@]{1,256}(?=@)"),
    _shape(
        "credential",
        (*_KEYS, "pass", "pwd", "credential", "refresh", "bearer", "session", "token", "_key"),
        rf"{_NAMES}{_IS}{_VALUE}",
    ),
    _shape(  # in a sentence: "the password is required" is none
        "credential",
        ("pass", "pwd", "api"),
        rf"(?i:{_PASSWORDS}|api[ _-]?key)\s{{1,4}}(?i:is):?\s{{1,4}}(?=[\"'`]|\S{{0,64}}\d){_VALUE}",
    ),
)
_MAIL: Final = _shape(
    "mail",
    ("@",),
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}",
    before=f"{ascii_letters}{digits}._%+-",
)
_PHONE: Final = _shape("phone", ("+", "(", "0"), r"(?<![\w+])(?:\+\d|\(\+?\d|0\d)[\d ()./-]{6,18}\d(?!\w)")


def shapes(optional: Collection[Optional] = ()) -> tuple[Shape, ...]:
    return _SHAPES + (_MAIL,) * ("mail" in optional) + (_PHONE,) * ("phone" in optional)


def masked(text: str, shapes: Collection[Shape], presented: Collection[str] = ()) -> str:
    """With the name of what stood there, in brackets. `presented`: texts that go whatever their shape."""
    for secret in presented:
        text = text.replace(secret, PRESENTED)
    plain = len(text) < WORD_MAX and text.replace("_", "").isalpha()  # no shape is so short: most names in JSON
    found = sorted(_found(text, shapes)) if shapes and not plain else []
    if not found:
        return text
    kept, at = list[str](), 0
    for start, end, name in found:
        if start >= at:
            kept += (text[at:start], f"[{name}]")
        at = max(at, end)
    return "".join((*kept, text[at:]))


def _found(text: str, shapes: Collection[Shape]) -> Iterator[tuple[int, int, str]]:
    """Where each stands; two may overlap."""
    low = text.lower()
    if len(low) != len(text):  # of a few letters the small one is longer
        low = "".join([letter.lower() if letter.isascii() else letter for letter in text])
    for shape in shapes:
        for word in shape.words:
            at = low.find(word)
            while at >= 0:
                match = _match(shape, text, at)
                if match is not None:
                    yield match.start(), match.end(), shape.name
                at = low.find(word, at + 1 if match is None else max(match.end(), at + 1))


def _match(shape: Shape, text: str, at: int) -> re.Match[str] | None:
    if shape.before:
        front = text[max(0, at - BEFORE_MAX) : at]
        at -= len(front) - len(front.rstrip(shape.before))
    return shape.expression.match(text, at)


def is_secret_name(name: str) -> bool:
    """Whether what has this name is a credential, whatever it looks like."""
    return _SECRET_NAME.search(name) is not None
