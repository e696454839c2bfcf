"""Both text formats of a scrape: OpenMetrics 1.0 and Prometheus text 0.0.4.

Byte for byte what the Python client library writes, which the tests compare; but that library loads an HTTP server and
five megabytes, and takes ten times as long. A line's labels are put together once in its life.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite

from msgspec import Struct

OPENMETRICS = "application/openmetrics-text"
GO_EXPONENT = 6  # digits before the point, from the seventh on Go writes an exponent
PLAIN_BELOW = 10**GO_EXPONENT

Pairs = Sequence[tuple[str, str]]
Exemplar = tuple[str, float, float]  # trace id, value, wall
Read = tuple[list[int], float, list[Exemplar | None]]  # a histogram: counts between the edges, sum, exemplars


class Format(Struct, frozen=True):
    content_type: str
    open: bool  # OpenMetrics: buckets carry exemplars, counters are headed without `_total`, and the end is marked

    def heading(self, name: str, kind: str, help: str) -> bytes:
        """`name`: of a counter, with `_total`."""
        help = help.replace("\\", "\\\\").replace("\n", "\\n")
        if self.open:
            help = help.replace('"', '\\"')
            name = name.removesuffix("_total") if kind == "counter" else name
        return f"# HELP {name} {help}\n# TYPE {name} {kind}\n".encode()

    @property
    def end(self) -> bytes:
        return b"# EOF\n" if self.open else b""


def format_for(accept: str) -> Format:
    """One of two, whatever is asked for: any scraper reads the second."""
    if OPENMETRICS in accept:
        return Format(f"{OPENMETRICS}; version=1.0.0; charset=utf-8; escaping=underscores", True)
    return Format("text/plain; version=0.0.4; charset=utf-8", False)


def labelled(name: str, pairs: Pairs) -> str:
    """The beginning of a line, up to its value."""
    shown = _joined(sorted(pairs))
    return f"{name}{{{shown}}} " if shown else f"{name} "


class NumberText:
    """Of one child. `per_unit`: recorded units in one exposed unit, as below."""

    __slots__ = ("_beginning", "_per_unit")

    def __init__(self, name: str, pairs: Pairs, per_unit: int = 1) -> None:
        self._beginning = labelled(name, pairs)
        self._per_unit = per_unit

    def write(self, read: float) -> bytes:
        return f"{self._beginning}{go_text(read / self._per_unit)}\n".encode()


class Buckets(Struct, frozen=True):
    """What the children of a histogram have in common."""

    name: str
    edges: tuple[str, ...]  # with `+Inf`
    per_unit: int = 1
    traced: bool = False  # show exemplars


class HistogramText:
    __slots__ = ("_after", "_before", "_buckets", "_count", "_sum")

    def __init__(self, buckets: Buckets, pairs: Pairs) -> None:
        name, pairs = buckets.name, sorted(pairs)
        above = _joined([pair for pair in pairs if pair[0] < "le"])
        below = _joined([pair for pair in pairs if pair[0] > "le"])
        self._before = f'{name}_bucket{{{above}{"," * bool(above)}le="'
        self._after = f'"{"," * bool(below)}{below}}} '
        self._count, self._sum = labelled(f"{name}_count", pairs), labelled(f"{name}_sum", pairs)
        self._buckets = buckets

    def write(self, read: Read) -> bytes:
        """The count of all is the sum of the others, so that the two always agree."""
        counts, total, exemplars = read
        before, after, text, below = self._before, self._after, [], 0
        for edge, count, traced in zip(self._buckets.edges, counts, exemplars, strict=True):
            below += count
            shown = f"{below}.0" if below < PLAIN_BELOW else go_text(below)
            tail = self._exemplar(traced) if traced is not None and self._buckets.traced else ""
            text.append(f"{before}{edge}{after}{shown}{tail}\n")
        text.append(f"{self._count}{go_text(below)}\n{self._sum}{go_text(total / self._buckets.per_unit)}\n")
        return "".join(text).encode()

    def _exemplar(self, traced: Exemplar) -> str:
        trace_id, value, wall = traced
        return f' # {{trace_id="{_escaped(trace_id)}"}} {go_text(value / self._buckets.per_unit)} {wall}'


def _joined(pairs: Pairs) -> str:
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in pairs])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def go_text(value: float) -> str:
    """As Go writes a float, whose exponents begin sooner."""
    if not isfinite(value):
        return "+Inf" if value == inf else "-Inf" if value == -inf else "NaN"
    text = repr(float(value))
    whole, point, rest = text.partition(".")
    if not point or len(whole) <= GO_EXPONENT or value < 0:
        return text
    digits = f"{whole[0]}.{whole[1:]}{rest}".rstrip("0.")
    return f"{digits}e+{len(whole) - 1:02d}"
