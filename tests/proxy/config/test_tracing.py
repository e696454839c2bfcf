"""Where traces go, from a configuration."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.tracing import Otlp


@pytest.mark.parametrize(
    ("url", "sent_to"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://cloud.example/api/public/otel/v1/traces", "https://cloud.example/api/public/otel/v1/traces"),
    ],
)
def test_the_address(url: str, sent_to: str) -> None:
    assert Otlp(url=url).collector().url == sent_to


def test_a_profile_nobody_knows_is_refused() -> None:
    with pytest.raises(ValidationError):
        Otlp.model_validate({"url": "http://127.0.0.1:4318", "profile": ["phoenix"]})
