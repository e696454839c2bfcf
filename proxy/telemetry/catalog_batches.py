"""The part of the catalog that tells of batches."""

from __future__ import annotations

from proxy.telemetry.family import Label, counter, gauge

ENDED = Label("status", ("completed", "failed", "expired", "cancelled"))
ANSWERED = Label("result", ("completed", "failed"))

BATCHES = (
    counter("batches_total", "Batches by how they ended.", ENDED),
    counter("batch_lines_total", "Lines of batches that were answered, by whether with a reply or an error.", ANSWERED),
    gauge("batches_running", "Batches that are worked on.", merge="sum"),
)
