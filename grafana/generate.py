"""Writes the dashboards: `python grafana/generate.py`. The JSON is committed; a test compares it with this file.

It decides what a dashboard shows and how its queries are phrased, nothing about the metrics themselves: every name,
label and value it uses is declared by the gate. Classic dashboard JSON, schema version 39 (Grafana 10.4 and later),
PromQL as of Prometheus 2.42. Standard library only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FOLDER = Path(__file__).parent / "dashboards"
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
TAG = "headgate"
ALWAYS = 'job=~"$job",instance=~"$instance"'
BAD = "upstream_error|timeout|proxy_error"

# --- queries: the only places that write a range or a selector -------------------------------------------------------


def selector(metric: str, suffix: str = "") -> str:
    """`name{own="matchers"}` with the prefix, and with the matchers that every query has."""
    name, _, own = metric.rstrip("}").partition("{")
    return f"headgate_{name}{suffix}{{{own + ',' if own else ''}{ALWAYS}}}"


def grouped(operator: str, by: tuple[str, ...]) -> str:
    return f"{operator} by ({', '.join(by)})" if by else operator


def rate(metric: str, *by: str) -> str:
    return f"{grouped('sum', by)} (rate({selector(metric)}[$__rate_interval]))"


def increase(metric: str, *by: str) -> str:
    return f"{grouped('sum', by)} (increase({selector(metric)}[$__range]))"


def gauge(metric: str, *by: str) -> str:
    return f"{grouped('sum', by)} ({selector(metric)})"


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


def variables() -> list[Json]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1},
        variable("job", "Job", "headgate_build_info"),
        variable("instance", "Instance", 'headgate_build_info{job=~"$job"}'),
        variable("route", "Route", selector("requests_total")),
        variable("agent", "Agent", selector("requests_total")),
        variable("target", "Target", selector("target_info")),
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


def dashboard(uid: str, title: str, description: str, panels: list[Json]) -> Json:
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
        "templating": {"list": variables()},
        "panels": laid_out(panels),
    }


def at_route(metric: str, own: str = "") -> str:
    """`metric` for the chosen routes."""
    chosen = 'route=~"$route"'
    return f"{metric}{{{chosen}{',' + own if own else ''}}}"


def fleet_now() -> list[Json]:
    failed = at_route("requests_total", f'outcome=~"{BAD}"')
    counted = at_route("requests_total", 'outcome!~"client_error|rejected"')
    return [
        stat(
            "Calls per second",
            "Calls that ended. Nothing at all while agents run: look whether they reach the gate, and with which key.",
            rate(at_route("requests_total")),
            unit="reqps",
        ),
        stat(
            "Success",
            "Share of calls that neither an upstream nor the gate failed; refusals and faulty requests are left out. "
            "Below 99.5 %: the error codes at the bottom name the side.",
            f"1 - {share(failed, counted)}",
            unit="percentunit",
        ),
        stat(
            "First token, p95",
            "Streams: from the receipt of a call to its first content. Above 2 s: compare the attempts per target.",
            quantile(0.95, at_route("time_to_first_token_seconds")),
            unit="s",
        ),
        stat(
            "Spend per hour",
            "At the present pace, in US dollars. The ledger holds the bill; this shows where it is heading.",
            rate(at_route("spend_usd_total")) + " * 3600",
            unit="currencyUSD",
        ),
        stat(
            "Tokens per second",
            "All kinds, input and output. A jump without more calls is a prompt that grew.",
            rate('tokens_total{agent=~"$agent"}'),
            unit="short",
        ),
        stat(
            "In flight",
            "Calls begun and not ended. It rises when upstreams slow down, before any of them fails.",
            gauge(at_route("in_flight_requests")),
            unit="short",
        ),
    ]


def fleet_causes() -> list[Json]:
    return [
        stack(
            "Outcomes",
            "How calls ended. `rejected` is a rule of yours at work, `upstream_error` and `timeout` are a provider's, "
            "`proxy_error` is the gate's own: read its log.",
            (rate(at_route("requests_total"), "outcome"), "{{outcome}}"),
            unit="reqps",
        ),
        lines(
            "In flight by route",
            "One route that climbs alone has slow targets; all of them together point at the gate or its network.",
            (gauge(at_route("in_flight_requests"), "route"), "{{route}}"),
            unit="short",
        ),
        lines(
            "Overhead",
            "What the gate itself adds to a call. Above 25 ms at p99: the machine lacks a core, or bodies are huge.",
            (quantile(0.99, at_route("overhead_seconds")), "p99"),
            (quantile(0.5, at_route("overhead_seconds")), "p50"),
            unit="s",
        ),
        stack(
            "Attempts by target",
            "What was sent upstream, by target and result. A target with many results other than `ok` costs retries.",
            (rate('upstream_attempts_total{target=~"$target"}', "target", "result"), "{{target}} {{result}}"),
            unit="reqps",
        ),
    ]


def fleet_lists() -> list[Json]:
    spenders = increase('spend_usd_total{agent=~"$agent"}', "agent")
    return [
        table(
            "Agents by spend",
            "The ten that spent most in the shown time, in US dollars. `other` gathers those without a configured name.",
            f"topk(10, {spenders})",
            unit="currencyUSD",
        ),
        table(
            "Errors by code",
            "The ten most frequent in the shown time, with the side at fault.",
            f"topk(10, {increase('errors_total', 'source', 'code')})",
            unit="short",
        ),
    ]


def fleet() -> Json:
    panels = [*fleet_now(), *fleet_causes(), *fleet_lists()]
    return dashboard("headgate-fleet", "Headgate / Fleet", "Is it fine now?", panels)


def dashboards() -> dict[str, Json]:
    return {"fleet.json": fleet()}


def text(board: Json) -> str:
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, board in dashboards().items():
        (FOLDER / name).write_text(text(board), encoding="utf-8")


if __name__ == "__main__":
    main()
