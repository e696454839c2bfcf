"""Both formats, byte for byte as the client library writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ClientExemplar
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from proxy.telemetry.text import (
    OPENMETRICS,
    Buckets,
    Exemplar,
    Format,
    HistogramText,
    NumberText,
    format_for,
)

EDGES = ("0.5", "1.0", "+Inf")
ODD = 'a "quoted" back\\slash\nand é'
FORMATS = ["", OPENMETRICS]
PAIRS = [("zone", ODD), ("agent", "a")]


class Given(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def by_the_client(form: Format, metric: Metric) -> bytes:
    encode, content_type = choose_encoder(f"{OPENMETRICS}; version=1.0.0" if form.open else "")
    assert content_type == form.content_type
    return encode(Given(metric)).removesuffix(form.end)


@pytest.mark.parametrize("accept", FORMATS)
@given(
    value=st.one_of(st.integers(-(10**12), 10**21), st.floats()),
    pairs=st.dictionaries(st.sampled_from("abcz"), st.text()),
)
def test_a_number_is_written_as_the_client_writes_it(accept: str, value: float, pairs: dict[str, str]) -> None:
    form = format_for(accept)
    metric = Metric("money_usd", 'Money, in \\ "dollars".', "counter")
    metric.samples.append(Sample("money_usd_total", pairs, value / 1_000))
    text = form.heading("money_usd_total", "counter", 'Money, in \\ "dollars".')
    assert text + NumberText("money_usd_total", list(pairs.items()), 1_000).write(value) == by_the_client(form, metric)


@pytest.mark.parametrize("accept", FORMATS)
@pytest.mark.parametrize("pairs", [[], PAIRS, PAIRS[:1], PAIRS[1:]])
@given(
    counts=st.lists(st.integers(0, 3_000_000), min_size=3, max_size=3),
    total=st.floats(0, 1e18),
    traced=st.booleans(),
)
def test_a_histogram_is_written_as_the_client_writes_it(
    accept: str, pairs: list[tuple[str, str]], counts: list[int], total: float, traced: bool
) -> None:
    form = format_for(accept)
    exemplars: list[Exemplar | None] = [("ab" * 16, 700.0, 1_790_000_000.25), None, None]
    if not traced:
        exemplars[0] = None
    metric = reference("wait_seconds", pairs, counts, total=total, exemplars=exemplars if form.open else [None] * 3)
    text = HistogramText(Buckets("wait_seconds", EDGES, 1_000, form.open), pairs)
    written = form.heading("wait_seconds", "histogram", "Wait.") + text.write((counts, total, exemplars))
    assert written == by_the_client(form, metric)


def reference(
    name: str,
    pairs: Sequence[tuple[str, str]],
    counts: list[int],
    *,
    total: float,
    exemplars: Sequence[Exemplar | None],
) -> Metric:
    metric, labels, below = Metric(name, "Wait.", "histogram"), dict(pairs), 0
    for edge, count, traced in zip(EDGES, counts, exemplars, strict=True):
        below += count
        told = ClientExemplar({"trace_id": traced[0]}, traced[1] / 1_000, traced[2]) if traced else None
        metric.samples.append(Sample(f"{name}_bucket", {**labels, "le": edge}, below, None, told))
    metric.samples += [Sample(f"{name}_count", labels, below), Sample(f"{name}_sum", labels, total / 1_000)]
    return metric


def test_each_format_ends_as_it_should() -> None:
    assert (format_for("").end, format_for(OPENMETRICS).end) == (b"", b"# EOF\n")


def test_numbers_are_those_of_go() -> None:
    shown = NumberText("n", []).write(12_345_678).decode()
    assert shown == f"n {floatToGoString(12_345_678)}\n" == "n 1.2345678e+07\n"  # type: ignore[no-untyped-call]
