from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from proxy.config.tree import typed
from proxy.config.values import (
    FORBIDDEN_HEADERS,
    FilePath,
    Headers,
    HostNames,
    HttpAddress,
    ModelName,
    Name,
    Names,
    StatusShares,
    Switch,
    Text,
    Usd,
)
from proxy.secret import Secret

STRICT = ConfigDict(strict=True, hide_input_in_errors=True)


def taken(kind: Any, value: object) -> object:
    return TypeAdapter(kind, config=STRICT).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (Text, typed("3.10"), "3.10"),
        (Text, typed("12345678901234567"), "12345678901234567"),
        (Usd, typed("0.10"), "0.10"),
        (Usd, typed("3"), "3"),
        (Usd, "2.50", "2.50"),
        (Switch, "on", True),
        (Switch, "off", False),
        (Switch, True, True),
        (HttpAddress, "http://10.0.0.1:8000/v1/", "http://10.0.0.1:8000/v1"),
        (HttpAddress, "https://[::1]/v1", "https://[::1]/v1"),
        (ModelName, "openai/*", "openai/*"),
        (ModelName, "*", "*"),
        (Name, typed("7"), "7"),
        (Names, ["a", "b"], ("a", "b")),
        (HostNames, ["Gate.example.org", "[::1]"], ("gate.example.org", "[::1]")),
        (StatusShares, {"429": typed("0.02"), "500": 0.01}, {429: 0.02, 500: 0.01}),
        (FilePath, "./data", Path("data")),
        (Headers, {"X-Org": "a b"}, {"X-Org": Secret("a b")}),
    ],
)
def test_what_is_meant_is_taken(kind: Any, value: object, result: object) -> None:
    assert taken(kind, value) == result


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Text, True, "Input should be a valid string"),
        (Usd, "free", "Input should be an amount in USD, such as 2.50"),
        (Usd, "-1", "Input should be an amount in USD, such as 2.50"),
        (Usd, "1e3", "Input should be an amount in USD, such as 2.50"),
        (Usd, 0.1, "Input should be an amount in USD, such as 2.50"),
        (Switch, "yes", "Input should be on, off, true or false"),
        (Switch, 1, "Input should be on, off, true or false"),
        (HttpAddress, "ftp://host/v1", "Input should be an address such as https://host:port/v1"),
        (HttpAddress, "localhost:8000", "Input should be an address such as https://host:port/v1"),
        (HttpAddress, "http://host:99999/", "Input should be an address such as https://host:port/v1"),
        (HttpAddress, "http://ho st/", "Input should be an address such as https://host:port/v1"),
        (HttpAddress, "http://[::1/", "Input should be an address such as https://host:port/v1"),
        (HttpAddress, "https://user:word@host/", "the address may hold no user, password, query or fragment"),
        (HttpAddress, "https://host/?key=1", "the address may hold no user, password, query or fragment"),
        (ModelName, "gpt *", "the name of a model has up to 256 printable characters and no blanks"),
        (ModelName, "", "the name of a model has up to 256 printable characters and no blanks"),
        (ModelName, "a*b", "only the last character of a name may be `*`"),
        (Name, "a/b", "a name has up to 64 letters, digits, dots, dashes and underscores"),
        (Names, ["a", "a"], "a name is here twice"),
        (HostNames, ["host:80"], "Input should be names without a port, such as gate.example.org"),
        (StatusShares, {"200": 0.1}, "Input should map a status from 400 to 599 to a share"),
        (StatusShares, {"429": 0.6, "500": 0.6}, "the shares add up to more than 1"),
        (StatusShares, [429], "Input should map a status from 400 to 599 to a share"),
        (FilePath, "", "Input should be a path"),
        (FilePath, "a\0b", "Input should be a path"),
        (Headers, {"X Org": "a"}, "the name of a header has letters, digits and dashes"),
        (Headers, {"X-A": "a", "x-a": "b"}, "a header is here twice: names do not differ by case"),
    ],
)
def test_what_is_not_is_refused_in_words_that_do_not_repeat_it(kind: Any, value: object, message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        taken(kind, value)
    (detail,) = refusal.value.errors(include_input=False, include_url=False)
    assert detail["msg"].removeprefix("Value error, ") == message


@pytest.mark.parametrize("name", sorted(FORBIDDEN_HEADERS))
def test_headers_that_frame_or_authorise_are_the_gates_own(name: str) -> None:
    with pytest.raises(ValidationError, match=f"the gate sets {name} itself"):
        taken(Headers, {name.title(): "x"})
