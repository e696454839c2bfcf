"""The types of single values in the configuration: what they accept and how they refuse the rest.

A refusal says what would be accepted and never repeats what was given: it might have been a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from policies.windows import zone
from proxy.secret import Secret
from proxy.types import Rung

N = TypeVar("N", bound=str)

WEEK_S = 7 * 86400

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110: the name of a header
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9a-fA-F:.]{2,45}\]")
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")
FORBIDDEN_HEADERS = frozenset(
    {"authorization", "connection", "cookie", "expect", "host", "keep-alive", "proxy-authorization", "te", "trailer"}
    | {"accept-encoding", "content-encoding", "content-length", "content-type", "transfer-encoding", "upgrade"}
)
SWITCHES: Mapping[object, bool] = {"on": True, "off": False}


def as_written(value: object) -> object:
    """`3.10` in a file is a number only where a number is wanted."""
    return getattr(value, "written", value)


def _switch(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in SWITCHES:
        return SWITCHES[value]
    raise ValueError("Input should be on, off, true or false")


def _name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise ValueError("a name has up to 64 letters, digits, dots, dashes and underscores")
    return text


def _model_name(text: str) -> str:
    if not (0 < len(text) <= 256 and text.isprintable()) or " " in text:
        raise ValueError("the name of a model has up to 256 printable characters and no blanks")
    if "*" in text[:-1]:
        raise ValueError("only the last character of a name may be `*`")
    return text


def _amount(value: object) -> str:
    text = as_written(value)
    if not isinstance(text, str) or _AMOUNT.fullmatch(text) is None:
        raise ValueError("Input should be an amount in USD, such as 2.50")
    return text


def _time_zone(name: str) -> str:
    zone(name)  # its words are fit to be shown
    return name


def usd_nanos(text: str) -> int:
    """An amount in USD, as decimal text, in nano-dollars; rounded down."""
    whole, _, rest = text.partition(".")
    return int(whole) * 1_000_000_000 + int(rest[:9].ljust(9, "0"))


def _http_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("Input should be an address such as https://host:port/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("the address may hold no user, password, query or fragment")
    return text.rstrip("/")


def _headers(headers: Mapping[str, Secret]) -> Mapping[str, Secret]:
    lowered = [name.lower() for name in headers]
    if len(set(lowered)) < len(lowered):
        raise ValueError("a header is here twice: names do not differ by case")
    for name in lowered:
        if _TOKEN.fullmatch(name) is None:
            raise ValueError("the name of a header has letters, digits and dashes")
        if name in FORBIDDEN_HEADERS:
            raise ValueError(f"the gate sets {name} itself")
    return headers


def _shares(value: object) -> object:
    """`{429: 0.02}`: names are statuses."""
    if not isinstance(value, dict) or not all(re.fullmatch(r"[45][0-9][0-9]", str(name)) for name in value):
        raise ValueError("Input should map a status from 400 to 599 to a share")
    return {int(name): share for name, share in value.items()}


def _at_most_all(shares: Mapping[int, float]) -> Mapping[int, float]:
    if sum(shares.values()) > 1:
        raise ValueError("the shares add up to more than 1")
    return shares


def _distinct(names: tuple[N, ...]) -> tuple[N, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a name is here twice")
    return names


def _host_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if _HOST.fullmatch(name) is None:
            raise ValueError("Input should be names without a port, such as gate.example.org")
    return tuple(name.lower() for name in names)


def _folder(value: object) -> Path:
    text = as_written(value)
    if isinstance(text, Path):
        return text
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError("Input should be a path")
    return Path(text)


Text = Annotated[str, BeforeValidator(as_written)]
Name = Annotated[Text, AfterValidator(_name)]
ModelName = Annotated[Text, AfterValidator(_model_name)]
HostNames = Annotated[tuple[Text, ...], Field(strict=False), AfterValidator(_host_names)]
Names = Annotated[tuple[ModelName, ...], Field(strict=False), AfterValidator(_distinct)]
Rungs = Annotated[tuple[Rung, ...], Field(strict=False), AfterValidator(_distinct)]
Switch = Annotated[bool, BeforeValidator(_switch)]
TimeZone = Annotated[Text, AfterValidator(_time_zone)]
Usd = Annotated[str, BeforeValidator(_amount)]
FilePath = Annotated[Path, BeforeValidator(_folder)]
HttpAddress = Annotated[Text, AfterValidator(_http_address)]
Headers = Annotated[Mapping[str, Secret], AfterValidator(_headers)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=WEEK_S)]
Pause = Annotated[float, Field(ge=0, le=WEEK_S)]
Share = Annotated[float, Field(ge=0, le=1)]
StatusShares = Annotated[Mapping[int, Share], BeforeValidator(_shares), AfterValidator(_at_most_all)]
