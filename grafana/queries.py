"""The vocabulary of queries: the only place that writes a selector or a range.

Each function adds the metric prefix and the choices of job and instance. Rates of panels are over the range that
Grafana chooses, totals over the range shown; a fixed window is written out by `rate_over` and `increase_over` alone.
PromQL as of Prometheus 2.42. Standard library only.
"""

from __future__ import annotations

ALWAYS = 'job=~"$job",instance=~"$instance"'


def selector(metric: str, suffix: str = "") -> str:
    """`name{own="matchers"}` with the prefix, and with the matchers that every query has."""
    name, _, own = metric.rstrip("}").partition("{")
    return f"headgate_{name}{suffix}{{{own + ',' if own else ''}{ALWAYS}}}"


def chosen(metric: str, label: str, own: str = "") -> str:
    """`metric` for the values of `label` that are chosen at the top of the dashboard."""
    return f'{metric}{{{label}=~"${label}"{"," + own if own else ""}}}'


def grouped(operator: str, by: tuple[str, ...]) -> str:
    return f"{operator} by ({', '.join(by)})" if by else operator


def rate(metric: str, *by: str) -> str:
    return rate_over("$__rate_interval", metric, *by)


def increase(metric: str, *by: str) -> str:
    """Over the range that is shown."""
    return increase_over("$__range", metric, *by)


def rate_over(window: str, metric: str, *by: str) -> str:
    return f"{grouped('sum', by)} (rate({selector(metric)}[{window}]))"


def increase_over(window: str, metric: str, *by: str) -> str:
    return f"{grouped('sum', by)} (increase({selector(metric)}[{window}]))"


def gauge(metric: str, *by: str) -> str:
    return f"{grouped('sum', by)} ({selector(metric)})"


def most(metric: str, *by: str) -> str:
    """Of gauges whose sum means nothing."""
    return f"{grouped('max', by)} ({selector(metric)})"


def least(metric: str, *by: str) -> str:
    return f"{grouped('min', by)} ({selector(metric)})"


def share(part: str, whole: str, *by: str) -> str:
    return f"{rate(part, *by)} / {rate(whole, *by)}"


def share_shown(part: str, whole: str, *by: str) -> str:
    """Over the range that is shown."""
    return f"{increase(part, *by)} / {increase(whole, *by)}"


def quantile(q: float, metric: str, *by: str) -> str:
    name, _, own = metric.partition("{")
    buckets = f"{name}_bucket{{{own}" if own else f"{name}_bucket"
    return f"histogram_quantile({q}, {rate(buckets, *by, 'le')})"


def above(edge: float, metric: str, *by: str) -> str:
    """The share of a histogram's observations that are larger than one of its edges."""
    name, _, own = metric.rstrip("}").partition("{")
    below = f'{name}_bucket{{{own + "," if own else ""}le="{edge}"}}'
    every = f"{name}_count{{{own}}}" if own else f"{name}_count"
    return f"(1 - {share(below, every, *by)})"


def recorded(name: str) -> str:
    """What a recording rule keeps; those are over all instances of a job."""
    return f'headgate:{name}{{job=~"$job"}}'


def or_nothing(expression: str) -> str:
    """0 where there is no such series at all: for sums in which one part may not be configured."""
    return f"({expression} or vector(0))"
