"""Where traces go: the fields of a collector that speaks OTLP over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from proxy.config.providers import Block
from proxy.config.values import HttpAddress, Share, Text
from proxy.secret import Secret
from proxy.telemetry.spans import Profile
from proxy.telemetry.tracing import Collector

PATH = "/v1/traces"


class Otlp(Block):
    """An OpenTelemetry collector, Langfuse, Phoenix, Tempo or Jaeger."""

    url: HttpAddress = Field(description="Its address; `/v1/traces` is added where no path is given.")
    headers: Mapping[Text, Secret] = Field(default={}, description="Sent with every batch, such as a credential.")
    share: Share = Field(default=0.05, description="Of the calls that nothing speaks for; all others are traced.")
    profile: Annotated[tuple[Profile, ...], Field(strict=False)] = Field(
        default=("genai",), description="Attributes: `genai`, and what `langfuse` and `openinference` read."
    )

    def collector(self, *, words: bool = False) -> Collector:
        """`words`: see `telemetry.content.on_spans`."""
        scheme, _, rest = self.url.partition("://")
        host, slash, path = rest.rstrip("/").partition("/")
        url = f"{scheme}://{host}/{path}" if slash and path else f"{scheme}://{host}{PATH}"
        return Collector(
            url=url,
            headers=tuple((name, value.reveal()) for name, value in self.headers.items()),
            share=self.share,
            profiles=self.profile,
            words=words,
        )
