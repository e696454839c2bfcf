"""The frame around the panels of a dashboard: its choices, its links to the others, and what is marked on its graphs.

Schema version 39 (Grafana 10.4 and later). A `uid` is a promise: links and imports find a dashboard by it. Standard
library only.
"""

from __future__ import annotations

from grafana.panels import DATASOURCE, Json, laid_out
from grafana.queries import ALWAYS, most, rate, selector

TAG = "headgate"
CHOICES = {  # each label that can be chosen, with the metric that knows its values
    "route": "requests_total",
    "agent": "requests_total",
    "target": "target_info",
    "budget": "budget_limit_usd",
    "provider": "target_info",
}


def variable(name: str, label: str, metric: str) -> Json:
    """A choice of several values of one label; `All` also matches what appears later."""
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "variable"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def variables(own: tuple[str, ...]) -> list[Json]:
    """`own`: the dashboard's choices beside those of every one."""
    console = {"text": "http://127.0.0.1:8081", "value": "http://127.0.0.1:8081"}
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1},
        variable("job", "Job", "headgate_build_info"),
        variable("instance", "Instance", 'headgate_build_info{job=~"$job"}'),
        *(variable(name, name.capitalize(), selector(CHOICES[name])) for name in own),
        {
            "name": "console",
            "label": "Console",
            "type": "textbox",
            "query": console["value"],
            "current": console,
        },
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


def annotations() -> list[Json]:
    version = f"max by (version) (headgate_build_info{{{ALWAYS}}}"
    opened = 'breaker_transitions_total{to="open"}'
    return [
        annotation(
            "Alert",
            'max by (alertname) (ALERTS{alertname=~"Headgate.*",alertstate="firing"})',
            "{{alertname}}",
            color="red",
        ),
        annotation("Reload", f"{rate('config_reloads_total', 'result')} > 0", "{{result}}", color="blue"),
        annotation(
            "Breaker opened", f"{rate(opened, 'target', 'reason')} > 0", "{{target}}: {{reason}}", color="orange"
        ),
        annotation(
            "Load test",
            f"{most('loadtest_info', 'test', 'scenario')} > 0",
            "{{test}}: {{scenario}}",
            color="green",
        ),
        annotation("Version", f"{version}) unless {version} offset 5m)", "{{version}}", color="purple"),
    ]


def link(kind: str, title: str, own: Json) -> Json:
    """`own`: what differs from a plain one."""
    plain = {"icon": "", "tooltip": "", "tags": [], "asDropdown": False, "keepTime": False, "includeVars": False}
    return {"type": kind, "title": title, "targetBlank": False, **plain, **own}


def links() -> list[Json]:
    return [
        link("dashboards", "Headgate", {"tags": [TAG], "asDropdown": True, "keepTime": True, "includeVars": True}),
        link(
            "link", "Console: each call and its bill", {"url": "$console", "targetBlank": True, "icon": "external link"}
        ),
    ]


def dashboard(uid: str, title: str, question: str, panels: list[Json], *, choices: tuple[str, ...] = ()) -> Json:
    return {
        "uid": uid,
        "title": title,
        "description": question,
        "tags": [TAG],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "links": links(),
        "annotations": {"list": annotations()},
        "templating": {"list": variables(choices)},
        "panels": laid_out(panels),
    }
