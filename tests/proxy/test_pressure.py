"""Shares in thousandths: rounded down, and of nothing all is taken."""

from __future__ import annotations

import pytest

from proxy.pressure import Pressure, share
from proxy.types import Period


@pytest.mark.parametrize(
    ("part", "whole", "thousandths"), [(0, 10, 0), (1, 3, 333), (999_999, 1_000_000, 999), (3, 2, 1_500), (0, 0, 1_000)]
)
def test_a_share_is_rounded_down(part: int, whole: int, thousandths: int) -> None:
    assert share(part, whole) == thousandths


def test_without_a_limit_nothing_is_taken() -> None:
    assert Pressure().taken == 0
    assert Pressure(limit=10, used=3, held=4, period=Period("a", "usd", "day", 1, "a")).taken == 700
