"""Which requests get which script: a small format, the same in YAML, in JSON and in Python.

    seed: 7
    abort: stops                    # or `continues`: who hangs up pays for the whole answer
    rules:                          # the first that fits plays; a request that none fits gets a plain good answer
      - when: {contains: STALL, stream: true}
        steps: [stream, {tokens: {n: 3, interval: 0.1}}, stall]
      - when: {share: 0.3}
        steps: [{reply: {status: 500}}]
      - when: {path: /health, first: 2}
        steps: [{reply: {status: 503}}]

`when` may say: `path`, `stream`, `model`, `contains` (anywhere in head or body), and of the requests that fit so far
`after` (not the first n), `first` (only the first n), `every` (each n-th), `share` (this part, drawn with the seed).
A step is the name of a verb, or one verb with its argument; the verbs are the methods of `script.Performance`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from random import Random
from typing import Literal

from .request import Request
from .script import VERBS, Step

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]  # JSON remains

Abort = Literal["stops", "continues"]


class ScenarioError(ValueError):
    """A scenario that cannot be played; the message says where it is wrong."""


@dataclass(frozen=True)
class When:
    path: str | None = None  # its end; None: whatever generates
    stream: bool | None = None
    model: str | None = None
    contains: str | None = None
    after: int = 0
    first: int | None = None
    every: int = 1
    share: float = 1.0

    def fits(self, request: Request) -> bool:
        path = request.path.decode("latin-1")
        if not (request.generates if self.path is None else path.endswith(self.path)):
            return False
        if self.stream is not None and request.streamed != self.stream:
            return False
        if self.model is not None and request.model != json.dumps(self.model).encode():
            return False
        marker = self.contains.encode() if self.contains is not None else b""
        return marker in request.body or marker in request.head

    def chosen(self, number: int, rng: Random) -> bool:
        """Of the requests that fit, whether this one (from 1) is meant. Draws once, whatever the answer."""
        drawn = rng.random() < self.share
        number -= self.after
        return 0 < number <= (self.first or number) and number % self.every == 0 and drawn


@dataclass(frozen=True)
class Rule:
    when: When
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Scenario:
    rules: tuple[Rule, ...] = ()
    abort: Abort = "stops"
    seed: int = 1


def load(path: Path) -> Scenario:
    """Raises ScenarioError, or OSError where there is no such file."""
    text = path.read_text()
    if path.suffix == ".json" or yaml is None:
        return parse(text)
    try:
        return read(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path.name} is no YAML: {error}") from None


def parse(text: str | bytes) -> Scenario:
    try:
        return read(json.loads(text))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"this is no JSON: {error}") from None


def read(data: object) -> Scenario:
    """From plain values; a bare list is the script of every request."""
    if isinstance(data, list):
        data = {"rules": [{"steps": data}]}
    found = _fields(data, ("rules", "abort", "seed"), "a scenario")
    rules, abort, seed = found.get("rules", []), found.get("abort", "stops"), found.get("seed", 1)
    if not isinstance(rules, list) or not isinstance(seed, int):
        raise ScenarioError("`rules` is a list, `seed` a whole number")
    if abort != "stops" and abort != "continues":
        raise ScenarioError(f"`abort` is stops or continues, not {abort!r}")
    return Scenario(tuple(_rule(rule, number) for number, rule in enumerate(rules, 1)), abort, seed)


def _rule(data: object, number: int) -> Rule:
    where = f"rule {number}"
    found = _fields(data, ("when", "steps"), where)
    names = tuple(field.name for field in fields(When))
    conditions = _fields(found.get("when", {}), names, f"`when` of {where}")
    steps = found.get("steps")
    if not isinstance(steps, list) or not steps:
        raise ScenarioError(f"{where} has no steps")
    return Rule(When(**conditions), tuple(_step(step, where) for step in steps))  # type: ignore[arg-type]


def _step(data: object, where: str) -> Step:
    if isinstance(data, str):
        return _bound(data, {}, where)
    if not isinstance(data, Mapping) or len(data) != 1:
        raise ScenarioError(f"{where}: a step is a verb, or one verb with its argument, not {data!r}")
    ((verb, argument),) = data.items()
    names = VERBS[verb].parameters if verb in VERBS else ()
    if isinstance(argument, Mapping) and len(names) > 1:
        return _bound(verb, argument, where)
    return _bound(verb, {next(iter(names), "argument"): argument}, where)


def _bound(verb: str, arguments: Mapping[str, object], where: str) -> Step:
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, 1)
        raise ScenarioError(f"{where}: there is no verb {verb!r}" + (f"; {near[0]}?" if near else ""))
    _check(VERBS[verb], verb, arguments, where=where)
    return verb, dict(arguments)


def _check(signature: inspect.Signature, verb: str, arguments: Mapping[str, object], *, where: str) -> None:
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ScenarioError(f"{where}: {verb}: {error}") from None


def _fields(data: object, known: tuple[str, ...], where: str) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        raise ScenarioError(f"{where} is a mapping, not {data!r}")
    for name in data:
        if name not in known:
            raise ScenarioError(f"{where} has no field {name!r}; there are {', '.join(known)}")
    return data
