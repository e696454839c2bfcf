"""A load test says who it is in one form, and in no other."""

from __future__ import annotations

import msgspec
import pytest

from proxy.errors import ProxyError
from proxy.surfaces.admin_load import LoadRoutes
from proxy.surfaces.admin_route import AdminRequest


def asked(body: object) -> AdminRequest:
    headers = {"content-type": "application/json"}
    return AdminRequest("POST", "/loadtest", "", headers, "127.0.0.1", body=msgspec.json.encode(body))


async def test_what_a_load_test_says_is_handed_on() -> None:
    told: list[tuple[str, str, int]] = []
    (route,) = LoadRoutes(lambda *said: told.append(said)).routes()
    await route.handler(asked({"test": "2026-11-23 02:10", "scenario": "ramp", "users": 12}))
    assert told == [("2026-11-23 02:10", "ramp", 12)]


@pytest.mark.parametrize(
    "body",
    [
        {"test": "t", "scenario": "s"},
        {"test": "", "scenario": "s", "users": 1},
        {"test": 't"\n', "scenario": "s", "users": 1},
        {"test": "t", "scenario": "s", "users": -1},
        {"test": "t", "scenario": "s", "users": 1, "more": 1},
    ],
)
async def test_anything_else_is_refused(body: object) -> None:
    told: list[tuple[str, str, int]] = []
    (route,) = LoadRoutes(lambda *said: told.append(said)).routes()
    with pytest.raises(ProxyError):
        await route.handler(asked(body))
    assert not told
