"""The kinds of panels and their places on the grid. Classic dashboard JSON; what they ask is phrased by `queries.py`.

A query over the range that is shown has one value, so it is asked once and not for each point of a graph. Standard
library only.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
Query = tuple[str, str]  # expression and legend

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
NO_LINKS: dict[str, str] = {}
SIZES = {
    "stat": (4, 4),
    "timeseries": (12, 8),
    "heatmap": (12, 8),
    "state-timeline": (12, 8),
    "bargauge": (12, 8),
    "text": (24, 3),
    "table": (24, 9),
}


def panel(kind: str, title: str, description: str, *, unit: str, queries: tuple[Query, ...]) -> Json:
    """Size and place are set by `laid_out`, looks by the callers."""
    targets = [
        {"refId": chr(ord("A") + place), "datasource": DATASOURCE, "expr": expression, "legendFormat": legend}
        for place, (expression, legend) in enumerate(queries)
    ]
    for target in targets:
        if "$__range" in str(target["expr"]):
            target |= {"instant": True, "range": False}
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {},
    }


def stat(title: str, description: str, *queries: Query | str, unit: str) -> Json:
    """One number, or one for each series of several queries."""
    named = tuple((query, "") if isinstance(query, str) else query for query in queries)
    made = panel("stat", title, description, unit=unit, queries=named)
    shown = any("$__range" in expression for expression, _ in named)
    made["options"] = {
        "colorMode": "none",
        "graphMode": "none" if shown else "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return made


def lines(title: str, description: str, *queries: Query, unit: str) -> Json:
    made = panel("timeseries", title, description, unit=unit, queries=queries)
    made["fieldConfig"]["defaults"] |= {"min": 0, "custom": {"fillOpacity": 8, "showPoints": "never"}}
    made["options"] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def traced(made: Json) -> Json:
    """With the exemplars of its histogram: points that lead to a trace."""
    for target in made["targets"]:
        target["exemplar"] = True
    return made


def signed(made: Json) -> Json:
    """Its values may be below zero."""
    del made["fieldConfig"]["defaults"]["min"]
    return made


def right(made: Json, legend: str, *, unit: str) -> Json:
    """The series of one query on an axis of their own, by the id of the query that has this legend."""
    reference = next(target["refId"] for target in made["targets"] if target["legendFormat"] == legend)
    properties = [{"id": "unit", "value": unit}, {"id": "custom.axisPlacement", "value": "right"}]
    properties.append({"id": "custom.stacking", "value": {"group": "A", "mode": "none"}})
    matcher = {"id": "byFrameRefID", "options": reference}
    made["fieldConfig"]["overrides"].append({"matcher": matcher, "properties": properties})
    return made


def stack(title: str, description: str, *queries: Query, unit: str) -> Json:
    made = lines(title, description, *queries, unit=unit)
    made["fieldConfig"]["defaults"]["custom"] |= {"fillOpacity": 40, "stacking": {"group": "A", "mode": "normal"}}
    return made


def heatmap(title: str, description: str, expression: str, *, unit: str) -> Json:
    """`expression` has a series for each bucket."""
    made = panel("heatmap", title, description, unit=unit, queries=((expression, "{{le}}"),))
    made["targets"][0]["format"] = "heatmap"
    made["options"] = {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Blues",
            "steps": 64,
            "fill": "dark-blue",
            "exponent": 0.5,
            "reverse": False,
        },
        "yAxis": {"unit": unit},
        "tooltip": {"mode": "single"},
    }
    return made


def bars(title: str, description: str, query: Query, *, unit: str) -> Json:
    """The newest value of each series, the full bar being 1."""
    made = panel("bargauge", title, description, unit=unit, queries=(query,))
    made["fieldConfig"]["defaults"] |= {"min": 0, "max": 1}
    made["options"] = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return made


def timeline(title: str, description: str, query: Query, *, states: dict[str, tuple[str, str]]) -> Json:
    """`states`: what a value is called, and its colour."""
    made = panel("state-timeline", title, description, unit="none", queries=(query,))
    named = {
        value: {"text": text, "color": color, "index": at} for at, (value, (text, color)) in enumerate(states.items())
    }
    made["fieldConfig"]["defaults"]["mappings"] = [{"type": "value", "options": named}]
    made["options"] = {"mergeValues": True, "showValue": "never", "rowHeight": 0.8}
    return made


def table(title: str, description: str, *queries: Query, unit: str, links: dict[str, str] = NO_LINKS) -> Json:
    """A column for each query, under its legend. `links`: where the values of a column lead."""
    made = panel("table", title, description, unit=unit, queries=queries)
    for target in made["targets"]:
        target |= {"format": "table", "instant": True, "range": False, "legendFormat": ""}
    names = {f"Value #{chr(ord('A') + place)}": legend for place, (_, legend) in enumerate(queries)}
    if len(queries) == 1:
        names["Value"] = queries[0][1]
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
    ]
    made["fieldConfig"]["overrides"] = [
        {
            "matcher": {"id": "byName", "options": column},
            "properties": [{"id": "links", "value": [{"title": "More of ${__value.text}", "url": url}]}],
        }
        for column, url in links.items()
    ]
    made["options"] = {"showHeader": True, "sortBy": [{"desc": True, "displayName": queries[0][1]}]}
    return made


def column_unit(made: Json, column: str, unit: str) -> Json:
    properties = [{"id": "unit", "value": unit}]
    made["fieldConfig"]["overrides"].append({"matcher": {"id": "byName", "options": column}, "properties": properties})
    return made


def text(title: str, content: str) -> Json:
    return {"type": "text", "title": title, "options": {"mode": "markdown", "content": content}, "targets": []}


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
