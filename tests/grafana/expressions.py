"""Reads PromQL as far as the lint needs it: selectors, and what an aggregation is over.

No parser: `promtool` is one, and reads every expression too. What is found here is compared with the gate's own table
of metrics, and with the recording rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from grafana import litellm, recordings
from proxy.telemetry.catalog import FAMILIES
from proxy.telemetry.family import PREFIX, Family

Json = dict[str, Any]

EVERYWHERE = {"job", "instance"}
SELECTOR = re.compile(r"(?<![\w:])" + PREFIX + r"(\w+)\{([^}]*)\}(\[[^]]+\])?")
MATCHER = re.compile(r'(\w+)(=~|!~|=|!=)"([^"]*)"')
AGGREGATION = re.compile(r"\bby \(([^)]*)\) \(")
RECORDED = re.compile(r"headgate:[\w:]+")
MADE = re.compile(r'"(\w+)", "\$1", "\w+", "')
BROUGHT = re.compile(r"group_left \(([^)]*)\)")
REGEX_MATCH = ("=~", "!~")


def bare(expression: str) -> str:
    """Every selector with its braces, as the dashboards write it."""
    return re.sub(rf"(?<![\w:])({PREFIX}\w+)(?![\w{{])", r"\1{}", expression)


def families() -> dict[str, tuple[Family, set[str]]]:
    """By the name that a query uses: a histogram has three, its buckets a label more."""
    named: dict[str, tuple[Family, set[str]]] = {}
    for family in FAMILIES:
        labels = {label.name for label in family.labels} | EVERYWHERE
        if family.ladder:
            named |= {f"{family.name}_{part}": (family, labels) for part in ("count", "sum")}
            named[f"{family.name}_bucket"] = (family, labels | {"le"})
        else:
            named[family.name] = (family, labels)
    return named


def aggregations(expression: str) -> Iterator[tuple[set[str], str]]:
    """The labels that each aggregation keeps, and what it is over."""
    for found in AGGREGATION.finditer(expression):
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(expression[end], 0)
            end += 1
        yield labels_of(found[1]), expression[found.end() : end - 1]


def labels_of(listed: str) -> set[str]:
    return {label.strip() for label in listed.split(",")}


def unknown(expression: str) -> list[str]:
    """What an expression uses and the gate does not declare."""
    named = families()
    recorded = {rule.name for rule in (*recordings.USUAL, *recordings.SLOW, *litellm.RULES)}
    wrong = [name for name in RECORDED.findall(expression) if name not in recorded]
    for name, matchers, _ in SELECTOR.findall(expression):
        wrong += _mismatched(name, matchers) if name in named else [name]
    for labels, inner in aggregations(expression):
        made = set(MADE.findall(inner))
        joined = len(BROUGHT.findall(inner)) > 0  # then each side has labels that the other lacks
        names = [name for name, _, _ in SELECTOR.findall(inner) if name in named]
        every = set[str]().union(*(named[name][1] for name in names))
        for name in names:
            wrong += [f"{name} by {label}" for label in labels - (every if joined else named[name][1]) - made]
    return wrong


def _mismatched(name: str, matchers: str) -> list[str]:
    family, labels = families()[name]
    listed = {label.name: label.values for label in family.labels if label.values is not None}
    wrong = []
    for label, operator, text in MATCHER.findall(matchers):
        if label not in labels:
            wrong.append(f"{name}{{{label}}}")
        elif label == "le":
            wrong += [f"{name}{{le={text}}}"] * (float(text) not in family.ladder)
        elif label in listed:
            values = text.split("|") if operator in REGEX_MATCH else [text]
            wrong += [f"{name}{{{label}={value}}}" for value in values if not _some(value, listed[label])]
    return wrong


def _some(value: str, listed: tuple[str, ...]) -> bool:
    """A value of the list, or a pattern that fits one."""
    return value in listed or ("." in value and any(re.fullmatch(value, each) for each in listed))


def expressions(board: Json) -> Iterator[tuple[str, str, str]]:
    """Where it stands, the expression, its legend."""
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], annotation["textFormat"]
