"""What the gate tells of its calls beside the ledger and the metrics: the block `telemetry`.

Where traces go stands in `tracing`, how long kept words lie on the disk in `content`. The ledger keeps calls whatever
is said here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from proxy.config.content import Content
from proxy.config.providers import Block
from proxy.config.tracing import Otlp
from proxy.telemetry.log import Calls


class Telemetry(Block):
    content: Content = Field(default=Content(), description="Kept words: for how long, how many, what is masked.")
    log_calls: Calls = Field(
        default="all",
        description="Calls that get a line in the log; `failures`: where an upstream, a time limit or the gate failed.",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`auto`: text on a terminal, else JSON."
    )
    otlp: Otlp | None = Field(default=None, description="The collector that traces go to; without one there are none.")
