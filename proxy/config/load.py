"""From a configuration file to one checked `Config`, or to every message about what is wrong with it.

`load` is asked at the start and again at each reload; it changes nothing, so a refused file leaves the running gate as
it was. Messages name file, line and path and what would be valid; what came from the environment appears in them only
as the `${NAME}` it came by. `effective` tells of every value where it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path

from msgspec import Struct
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pricing.tables import read_overrides
from proxy.config.check import listeners, references, take_out_what_is_later, write_out
from proxy.config.error import ConfigError
from proxy.config.fields import below, names_at, nearest
from proxy.config.file import Document, Place, read
from proxy.config.providers import KINDS, Block
from proxy.config.schema import Agent, Config, Defaults, leaves
from proxy.config.tree import Path as ValuePath
from proxy.config.tree import Problem, Value, paths, shown
from proxy.config.values import as_written
from proxy.state.keys import has_keys

__all__ = ["Config", "ConfigError", "Setting", "at_rest", "build", "effective", "load", "oddities", "rebuilt"]

FLAG = "flag"
DEFAULT = "default"
DEFAULT_FOLDER: Path = Config.model_fields["data_dir"].get_default()
REDACTED_FROM = 4  # shorter values from the environment are no secrets, and too frequent in messages

WORDS: Mapping[str, str] = {
    "dict_type": "Input should be a mapping",
    "mapping_type": "Input should be a mapping",
    "model_type": "Input should be a mapping",
    "model_attributes_type": "Input should be a mapping",
    "missing": "is required",
    "tuple_type": "Input should be a list",
    "too_long": "Input has too many items",
    "too_short": "Input should have at least one item",
    "union_tag_not_found": f"kind is required: {' or '.join(KINDS)}",
    "union_tag_invalid": f"kind should be {' or '.join(KINDS)}",
}


class Setting(Struct, frozen=True):
    """One line of the effective configuration; `value` is fit to be shown."""

    path: str
    value: object
    origin: str


def load(file: Path | None, environment: Mapping[str, str], overrides: Mapping[str, Value] | None = None) -> Config:
    """`overrides` (by dotted path, `server.port`) go before the file. Without a file there are defaults and those."""
    document = Document("configuration", {}, {}) if file is None else read(file, environment)
    config = build(document, overrides or {})
    config._source = file
    return config


def build(document: Document, overrides: Mapping[str, Value]) -> Config:
    """Raises ConfigError with everything that is wrong."""
    values, places = deepcopy(document.values), dict(document.places)
    for path, value in overrides.items():
        _override(values, places, tuple(path.split(".")), value)
    write_out(values, places)
    problems = [*document.problems, *references(values)]
    problems += listeners(values, keys_stored=has_keys(_data_dir(values)))
    problems += take_out_what_is_later(values)
    config, wrong = _checked(values)
    said = [problem.path for problem in document.problems]
    problems += (problem for problem in wrong if not any(_follows(problem.path, path) for path in said))
    if config is None or problems:
        raise ConfigError(_messages(problems, document, places))
    config._file, config._places, config._values = document.name, places, values
    return config


def rebuilt(values: dict[str, Value]) -> Config:
    """From the checked values of a configuration that was built elsewhere."""
    config, wrong = _checked(values)
    if config is None or wrong:
        raise ConfigError(tuple(f"{shown(problem.path)}: {problem.message}" for problem in wrong))
    config._values = values
    return config


def effective(config: Config) -> list[Setting]:
    return [Setting(shown(path), _shown_value(value), _origin(config, path)) for path, value in leaves(config)]


def oddities(config: Config) -> tuple[str, ...]:
    """What is allowed and looks like a mistake."""
    overrides = {name: override.written() for name, override in config.pricing.overrides.items()}
    return read_overrides(overrides)[1]


def at_rest(file: Path, environment: Mapping[str, str]) -> tuple[Path, tuple[str, ...], tuple[str, ...]]:
    """The data folder, the models and the teams of a file that need not be right in anything else."""
    values = read(file, environment).values
    models, teams = (
        tuple(found) if isinstance(found := values.get(name), dict) else () for name in ("models", "teams")
    )
    return _data_dir(values), models, teams


def _follows(path: ValuePath, said: ValuePath) -> bool:
    """A value that could not be read has been complained about; what is wrong with the block around it may follow."""
    return len(path) > 0 and said[: len(path)] == path


def _checked(values: dict[str, Value]) -> tuple[Config | None, list[Problem]]:
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        return None, [_problem(detail, values) for detail in details]
    agents = {name: _completed(agent, config.defaults) for name, agent in config.agents.items()}
    return config.model_copy(update={"agents": agents}), list(_prices(config))


def _completed(agent: Agent, defaults: Defaults) -> Agent:
    """An agent's block with what it left out, as under `defaults`."""
    retry = (
        defaults.retry.model_copy(update=_given(agent.retry)) if "retry" in agent.model_fields_set else defaults.retry
    )
    own = {name: value for name, value in _given(agent).items() if name != "retry"}
    base = {name: getattr(defaults, name) for name in Defaults.model_fields}
    return agent.model_copy(update={**base, "retry": retry, **own})


def _given(block: Block) -> dict[str, object]:
    return {name: getattr(block, name) for name in block.model_fields_set}


def _prices(config: Config) -> Iterator[Problem]:
    """The price book's own reading of each override; nobody else decides what a price may be."""
    for name, override in config.pricing.overrides.items():
        try:
            read_overrides({name: override.written()})
        except ValueError as error:
            yield Problem(("pricing", "overrides", name), str(error))


def _problem(detail: ErrorDetails, values: dict[str, Value]) -> Problem:
    path = detail["loc"]
    if path[:1] == ("providers",) and len(path) > 2 and path[2] in KINDS:
        path = (*path[:2], *path[3:])  # pydantic names the kind it chose as a step of its own
    kind, message = detail["type"], detail["msg"].removeprefix("Value error, ")
    if path and path[-1] == "[key]":
        return Problem(path[:-1], message)
    if kind == "extra_forbidden":
        return Problem(path, f"unknown key{nearest(str(path[-1]), names_at(path[:-1], values))}")
    if kind == "union_tag_not_found" and not isinstance(below(values, path), dict):
        kind = "dict_type"
    return Problem(path, WORDS.get(kind, message))


def _messages(problems: list[Problem], document: Document, places: Mapping[ValuePath, Place]) -> tuple[str, ...]:
    told = sorted(((_place(problem, places), problem) for problem in problems), key=lambda pair: pair[0].line or 0)
    return tuple(dict.fromkeys(_message(problem, place, document) for place, problem in told))


def _message(problem: Problem, place: Place, document: Document) -> str:
    where = FLAG if place.origin == FLAG else document.name + (f":{place.line}" if place.line else "")
    text = _without_secrets(problem.message, document)
    return f"{where} {shown(problem.path)}: {text}" if problem.path else f"{where} {text}"


def _without_secrets(text: str, document: Document) -> str:
    """A message may quote a name, and a name may have come from the environment, whole or as `provider/model`."""
    for value, reference in document.found:
        for part in (value, *value.split("/", 1)):
            if len(part) >= REDACTED_FROM:
                text = text.replace(part, reference).replace(repr(part)[1:-1], reference)
    return text


def _place(problem: Problem, places: Mapping[ValuePath, Place]) -> Place:
    if problem.line is not None:
        return Place(problem.line)
    around = (places.get(problem.path[:length]) for length in range(len(problem.path), 0, -1))
    return next((place for place in around if place is not None), Place())


def _override(values: dict[str, Value], places: dict[ValuePath, Place], path: ValuePath, value: Value) -> None:
    around: Value = values
    for part in path[:-1]:
        if not isinstance(around, dict):
            return  # a block that is none: the schema refuses it
        around = around.setdefault(str(part), {})
    if isinstance(around, dict):
        around[str(path[-1])] = deepcopy(value)
        places |= dict.fromkeys(paths(value, path), Place(origin=FLAG))


def _data_dir(values: dict[str, Value]) -> Path:
    written = as_written(below(values, ("data_dir",)))
    return Path(written) if isinstance(written, str) else DEFAULT_FOLDER


def _shown_value(value: object) -> object:
    """Secrets masked; whatever JSON has no word for, as text. Of lists and mappings only the empty ones come here."""
    if isinstance(value, tuple):
        return []
    return value if value is None or isinstance(value, bool | int | float | Mapping) else str(value)


def _origin(config: Config, path: ValuePath) -> str:
    place = _place_of(config, path)
    if place is None and path[0] == "agents" and len(path) > 2:
        place = _place_of(config, ("defaults", *path[2:]))
    if place is None:
        return DEFAULT
    return place.origin or f"{config._file}:{place.line}"


def _place_of(config: Config, path: ValuePath) -> Place | None:
    """Of what a short form stands for (`ask: 5`), the place of the short form."""
    if path in config._places:
        return config._places[path]
    lengths = range(len(path) - 1, 0, -1)
    around = next((path[:length] for length in lengths if path[:length] in config._places), None)
    if around is None or isinstance(below(config._values, around), dict | list):
        return None  # it was left out of a block that is written in full
    return config._places[around]
