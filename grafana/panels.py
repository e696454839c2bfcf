"""The vocabulary of the dashboards: queries, panels, their places, and the frame around them.

Queries are written through `rate`, `increase`, `gauge`, `most`, `least`, `share` and `quantile` only, which add the
metric prefix and the choices of job and instance. Classic dashboard JSON, schema version 39 (Grafana 10.4 and later),
PromQL as of Prometheus 2.42. Standard library only.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
TAG = "headgate"
ALWAYS = 'job=~"$job",instance=~"$instance"'

# --- queries: the only places that write a range or a selector -------------------------------------------------------


def selector(metric: str, suffix: str = "") -> str:
    """`name{own="matchers"}` with the prefix, and with the matchers that every query has."""
    name, _, own = metric.rstrip("}").partition("{")
    return f"headgate_{name}{suffix}{{{own + ',' if own else ''}{ALWAYS}}}"


def at_route(metric: str, own: str = "") -> str:
    """`metric` for the chosen routes."""
    chosen = 'route=~"$route"'
    return f"{metric}{{{chosen}{',' + own if own else ''}}}"


def grouped(operator: str, by: tuple[str, ...]) -> str:
    return f"{operator} by ({', '.join(by)})" if by else operator


def rate(metric: str, *by: str) -> str:
    return f"{grouped('sum', by)} (rate({selector(metric)}[$__rate_interval]))"


def increase(metric: str, *by: str) -> str:
    return f"{grouped('sum', by)} (increase({selector(metric)}[$__range]))"


def gauge(metric: str, *by: str) -> str:
    return f"{grouped('sum', by)} ({selector(metric)})"


def most(metric: str, *by: str) -> str:
    """Of gauges whose sum means nothing."""
    return f"{grouped('max', by)} ({selector(metric)})"


def least(metric: str, *by: str) -> str:
    return f"{grouped('min', by)} ({selector(metric)})"


def share(part: str, whole: str, *by: str) -> str:
    return f"{rate(part, *by)} / {rate(whole, *by)}"


def quantile(q: float, metric: str, *by: str) -> str:
    buckets = f"rate({selector(metric, '_bucket')}[$__rate_interval])"
    return f"histogram_quantile({q}, {grouped('sum', (*by, 'le'))} ({buckets}))"


# --- panels ----------------------------------------------------------------------------------------------------------


def panel(kind: str, title: str, description: str, *, unit: str, queries: list[tuple[str, str]]) -> Json:
    """`queries` are pairs of expression and legend. Size and place are set by `laid_out`, looks by the callers."""
    targets = [
        {"refId": chr(ord("A") + place), "datasource": DATASOURCE, "expr": expression, "legendFormat": legend}
        for place, (expression, legend) in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {},
    }


def stat(title: str, description: str, expression: str, *, unit: str) -> Json:
    made = panel("stat", title, description, unit=unit, queries=[(expression, "")])
    made["options"] = {
        "colorMode": "none",
        "graphMode": "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return made


def lines(title: str, description: str, *queries: tuple[str, str], unit: str) -> Json:
    made = panel("timeseries", title, description, unit=unit, queries=list(queries))
    made["fieldConfig"]["defaults"] |= {"min": 0, "custom": {"fillOpacity": 8, "showPoints": "never"}}
    made["options"] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def stack(title: str, description: str, *queries: tuple[str, str], unit: str) -> Json:
    made = lines(title, description, *queries, unit=unit)
    made["fieldConfig"]["defaults"]["custom"] |= {"fillOpacity": 40, "stacking": {"group": "A", "mode": "normal"}}
    return made


def table(title: str, description: str, expression: str, *, unit: str) -> Json:
    made = panel("table", title, description, unit=unit, queries=[(expression, "")])
    made["targets"][0] |= {"format": "table", "instant": True, "range": False}
    made["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]
    made["options"] = {"showHeader": True, "sortBy": [{"desc": True, "displayName": "Value"}]}
    return made


SIZES = {"stat": (4, 4), "timeseries": (12, 8), "table": (24, 9)}


def laid_out(panels: list[Json]) -> list[Json]:
    """In reading order on 24 columns; a panel that does not fit begins a row."""
    x = y = row_height = 0
    for number, made in enumerate(panels, start=1):
        width, height = SIZES[made["type"]]
        if x + width > 24:
            x, y, row_height = 0, y + row_height, 0
        made |= {"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": height}}
        x, row_height = x + width, max(row_height, height)
    return panels


# --- dashboards ------------------------------------------------------------------------------------------------------


def variable(name: str, label: str, metric: str) -> Json:
    """A choice of several values of one label; `All` also matches what appears later."""
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "variable"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def variables(own: dict[str, str]) -> list[Json]:
    """`own`: the dashboard's choices beside those of every one, each with the metric that knows their values."""
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1},
        variable("job", "Job", "headgate_build_info"),
        variable("instance", "Instance", 'headgate_build_info{job=~"$job"}'),
        *(variable(name, name.capitalize(), selector(metric)) for name, metric in own.items()),
    ]


def annotation(name: str, expression: str, text: str, *, color: str) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "expr": expression,
        "iconColor": color,
        "step": "60s",
        "titleFormat": name,
        "textFormat": text,
    }


def dashboard(uid: str, title: str, description: str, panels: list[Json], *, choices: dict[str, str]) -> Json:
    reloads = annotation("Reload", f"{rate('config_reloads_total', 'result')} > 0", "{{result}}", color="blue")
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "title": "Headgate",
                "tags": [TAG],
                "asDropdown": True,
                "keepTime": True,
                "includeVars": True,
            }
        ],
        "annotations": {"list": [reloads]},
        "templating": {"list": variables(choices)},
        "panels": laid_out(panels),
    }
