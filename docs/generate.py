"""Writes the generated parts of the reference: `python docs/generate.py`; with `--check` it only says what is stale.

A generated part stands between two comments in a page; everything outside them is written by hand. What is listed, and
in which words, is decided where the thing itself is declared: the models of the configuration, the table of error
codes, the catalogue of metrics, the parser of the command line. The tests of the docs take their lists from here too,
so that the docs and their tests look at the product through the same door.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from proxy.cli.main import COMMANDS, _parser
from proxy.config.check import NOT_YET
from proxy.config.fields import Field, fields
from proxy.config.load import load
from proxy.config.schema import Config
from proxy.errors import CODES
from proxy.surfaces.llm import ENDPOINTS
from proxy.telemetry import ladders
from proxy.telemetry.catalog import FAMILIES
from proxy.telemetry.family import PREFIX, Family, Label

__all__ = ["CODES", "ENDPOINTS", "FAMILIES", "PREFIX", "Config", "load"]

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- generated: {} -->", "<!-- end of generated part -->"
LADDERS = {name: value for name, value in vars(ladders).items() if name.isupper() and isinstance(value, tuple)}
FLAGS_OF_PARSER = (argparse._StoreTrueAction, argparse._HelpAction)

Schema = dict[str, Any]
Options = list[argparse.Action]


class _Shapes(GenerateJsonSchema):
    """A secret has a validator of its own and no shape that pydantic knows."""

    def function_plain_schema(self, schema: Any) -> Schema:
        return {"type": "secret"}


def config_fields() -> list[Field]:
    """Every field that may be given in this version."""
    return [field for field in fields() if not _later(field.path)]


def _later(path: str) -> bool:
    block, _, name = path.rpartition(".")
    return name in NOT_YET.get(tuple(block.split(".")), ())


def configuration() -> Iterator[str]:
    shapes = Config.model_json_schema(schema_generator=_Shapes)
    heading = ""
    for field in config_fields():
        block = field.path.split(".")[0]
        title = f"`{block}`" + (f", kind `{field.kind}`" if field.kind else "")
        if title != heading:
            heading = title
            yield from ("", f"### {title}", "", "| key | accepts | default | |", "|---|---|---|---|")
        if field.description:
            shape = _shape(shapes, shapes, field.path.split("."), field.kind)
            accepts = "amount in USD" if field.path.endswith(("_usd", "_usd_per_mtok")) else _accepts(shape, shapes)
            yield f"| `{field.path}` | {accepts} | {_default(field, shape)} | {_cell(field.description)} |"


def _shape(shape: Schema, root: Schema, path: list[str], kind: str | None) -> Schema:
    """The schema at a path of field names; a `*` goes into a mapping or a list."""
    inside = _resolved(shape, root, kind)
    if not path:
        return {**inside, "default": shape.get("default")}
    named = inside.get("additionalProperties") or inside.get("items") if path[0] == "*" else None
    return _shape(named or inside["properties"][path[0]], root, path[1:], kind)


def _resolved(shape: Schema, root: Schema, kind: str | None = None) -> Schema:
    if "discriminator" in shape and kind is not None:
        shape = {"$ref": shape["discriminator"]["mapping"][kind]}
    if "anyOf" in shape:
        shape = next(choice for choice in shape["anyOf"] if choice.get("type") != "null")
    if "$ref" in shape:
        return dict(root["$defs"][shape["$ref"].rpartition("/")[2]])
    return shape


def _accepts(shape: Schema, root: Schema) -> str:
    if "const" in shape or "enum" in shape:
        return " or ".join(f"`{value}`" for value in shape.get("enum", [shape.get("const")]))
    kind = shape.get("type", "mapping")
    if kind == "array":
        items = _resolved(shape["items"], root)
        choices = ", ".join(f"`{value}`" for value in items.get("enum", ()))
        return f"list of {choices or _accepts(items, root) + 's'}"
    words = {
        "object": "mapping",
        "string": "text",
        "boolean": "`on` or `off`",
        "integer": "integer",
        "number": "number",
    }
    return f"{words.get(kind, kind)}{_bounds(shape)}"


def _bounds(shape: Schema) -> str:
    low, high = shape.get("minimum"), shape.get("maximum")
    above = shape.get("exclusiveMinimum")
    if above is not None:
        return f" above {above:g}" + (f", at most {high:,.9g}" if high is not None else "")
    if low is not None and high is not None and high < 2**53:
        return f", {low:,} to {high:,}"
    return f", at least {low:,}" if low is not None else ""


def _part(value: float | str | list[str] | None) -> str:
    if value is None or isinstance(value, str | list):
        return "null" if value is None else str(value)
    return f"{value:g}"


def _default(field: Field, shape: Schema) -> str:
    if field.path.startswith("agents.*.") and not field.path.endswith(".models"):
        return "as under `defaults`"
    if field.default is None:
        return "required"
    value = shape["default"]
    if isinstance(value, dict) and value:
        return f"`{{{', '.join(f'{name}: {_part(part)}' for name, part in value.items())}}}`"
    if isinstance(value, list | tuple) and value:
        return f"`[{', '.join(map(str, value))}]`"
    text = {"False": "off", "True": "on"}.get(field.default, field.default.removesuffix(".0"))
    return f"`{text}`" if text not in ("", "()", "{}") else "none"


def errors() -> Iterator[str]:
    yield from ("| code | side | status | the gate tries again | client may | `type` |", "|---|---|---|---|---|---|")
    for code, rule in CODES.items():
        again = "before the first byte" if rule.retry == "before_first_byte" else "no"
        client = "yes" if rule.client_may_retry else "no"
        yield f"| `{code}` | {rule.source} | {rule.status} | {again} | {client} | `{rule.openai_type}` |"


def metrics() -> Iterator[str]:
    yield from ("| metric | kind | labels | |", "|---|---|---|---|")
    for family in FAMILIES:
        labels = ", ".join(f"`{label.name}`" for label in family.labels) or "none"
        yield f"| `{PREFIX}{family.name}` | {_kind(family)} | {labels} | {_cell(family.help)} |"


def _kind(family: Family) -> str:
    ladder = next((name for name, edges in LADDERS.items() if edges == family.ladder), None)
    return f"{family.kind} ({ladder})" if ladder else family.kind


def labels() -> Iterator[str]:
    yield from ("| label | values | in |", "|---|---|---|")
    closed: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for family in FAMILIES:
        for label in family.labels:
            closed.setdefault((label.name, _values(label)), []).append(family.name)
    for (name, values), names in closed.items():
        if values:
            shown = " ".join(f"`{value}`" for value in values)
            yield f"| `{name}` | {shown} | {', '.join(f'`{PREFIX}{name}`' for name in names)} |"


def _values(label: Label) -> tuple[str, ...]:
    """Codes and metrics have tables of their own."""
    names = {family.name for family in FAMILIES}
    long = label.values is not None and (set(label.values) <= set(CODES) or set(label.values) <= names)
    return () if label.values is None or long else label.values


def edges() -> Iterator[str]:
    yield from ("| ladder | upper edges of its buckets |", "|---|---|")
    for name, values in LADDERS.items():
        yield f"| {name} | {' '.join(f'{value:.5f}'.rstrip('0').rstrip('.') for value in values)} |"


def paths() -> Iterator[str]:
    yield from ("| path | also | endpoint |", "|---|---|---|")
    for path, endpoint in ENDPOINTS.items():
        also = f"`{path}`" + (", `/v2/rerank`" if endpoint == "rerank" else "")
        yield f"| `POST /v1{path}` | {also} | `{endpoint}` |"


def commands() -> dict[str, argparse.ArgumentParser]:
    """Each command's parser, and each action's of a command that has some, by the words that are typed."""
    found: dict[str, argparse.ArgumentParser] = {}
    for command in COMMANDS:
        if find_spec(command.module) is None:
            continue
        parser = parser_for(command.name)._subparsers
        assert parser is not None
        chosen = parser._group_actions[0].choices
        assert isinstance(chosen, Mapping)
        found |= dict(_with_actions(f"headgate {command.name}", chosen[command.name]))
    return found


def parser_for(command: str) -> argparse.ArgumentParser:
    """The real parser, as it is made for a command line that begins with `command`."""
    return _parser(command)


def _with_actions(words: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _with_actions(f"{words} {name}", inner)


def options(parser: argparse.ArgumentParser) -> Options:
    """What may be given, in order; hidden ones, `--help` and the names of actions left out."""
    left_out = (argparse._HelpAction, argparse._SubParsersAction)
    return [act for act in parser._actions if act.help != argparse.SUPPRESS and not isinstance(act, left_out)]


def command_tables() -> Iterator[str]:
    purposes = {command.name: command.purpose for command in COMMANDS}
    for words, parser in commands().items():
        yield from ("", f"### `{words}`", "", _sentence(parser.description or purposes[words.split()[-1]]), "")
        rows = [f"| `{_spelled(option)}` | {_cell(_meaning(option))} |" for option in options(parser)]
        if rows:
            yield from ("| option | |", "|---|---|", *rows)


def _spelled(option: argparse.Action) -> str:
    name = option.option_strings[-1] if option.option_strings else ""
    if isinstance(option, FLAGS_OF_PARSER):
        return name
    if option.choices is not None and option.option_strings:
        return f"{name} {'|'.join(option.choices)}".replace("|", "\\|")
    value = str(option.metavar or option.dest.upper())
    return f"{name} {value}" if name else (f"[{value}]" if option.nargs == "?" else value)


def _meaning(option: argparse.Action) -> str:
    text = option.help or ""
    stated = "default" in text or option.default in (None, False, argparse.SUPPRESS) or str(option.default) in text
    return text if stated else f"{text}{'; ' if text else ''}by default `{option.default}`"


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "configuration": configuration,
    "errors": errors,
    "metrics": metrics,
    "labels": labels,
    "edges": edges,
    "paths": paths,
    "commands": command_tables,
}


def renewed(page: str) -> str:
    """The page with its generated parts as they should be."""
    for name, part in PARTS.items():
        begin = BEGIN.format(name)
        text = "\n".join(part()).strip("\n") if begin in page else ""
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(END)}", re.DOTALL)
        page = pattern.sub(f"{begin}\n{text}\n{END}".replace("\\", r"\\"), page)
    return page


def pages() -> list[Path]:
    return sorted(FOLDER.glob("*.md"))


def _cell(text: str) -> str:
    return _sentence(text).replace("|", "\\|") if text else ""


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Writes the generated parts of the docs.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is stale")
    check = parser.parse_args(arguments).check
    stale = [page for page in pages() if renewed(page.read_text()) != page.read_text()]
    for page in stale:
        if not check:
            page.write_text(renewed(page.read_text()))
        print(f"{page.name} {'is stale: run docs/generate.py' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
