"""`headgate keys`: create, list and revoke keys, in the folder of a gate that may be running.

It needs no valid configuration, only the folder: the first key must be possible before a gate that needs keys starts.
A running gate notices within seconds. The key itself is written once, to standard output, and kept nowhere.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import msgspec

from policies.written import limit_of, text_of
from proxy.cli.options import DEFAULT_FILE, LENGTHS, Subparsers, add_config, length_s
from proxy.cli.output import Output, standard
from proxy.clock import SystemClock
from proxy.config.fields import nearest
from proxy.config.load import DEFAULT_FOLDER, at_rest
from proxy.config.values import NAME
from proxy.state.keys import KeyStore, KeyStoreError, StoredKey, load_pepper

FAILED, MISUSED = 1, 2

EXAMPLES = """\
examples:
  headgate keys create --agent planner                        a key that speaks for one agent
  headgate keys create --agent any --team core --expires 30d  the caller names its own agent
  headgate keys create --agent planner --budget 5/day --budget 0.5/run
  headgate keys list --json
  headgate keys revoke abcd2345
"""


class Known(msgspec.Struct, frozen=True):
    """The names in the configuration."""

    models: tuple[str, ...]
    teams: tuple[str, ...]


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "keys",
        help="create, list and revoke the keys that callers present",
        description="Creates, lists and revokes the keys that callers present. Only their HMAC is kept.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _create_options(_action(actions, "create", "make a key and show it, this once"))
    _action(actions, "list", "every key that was made: state, age, what it may do")
    _action(actions, "revoke", "end a key").add_argument("id", help="as `list` shows it")


def keys(arguments: argparse.Namespace) -> int:
    output = standard(os.environ)
    folder, known = _folder_and_names(arguments)
    try:
        store = KeyStore(folder, load_pepper(folder, os.environ), SystemClock().wall)
        if arguments.action == "create":
            return _create(arguments, store, known, output)
        if arguments.action == "revoke":
            return _revoke(arguments.id, store, output, as_json=arguments.json)
        return _list(store.list(), output, as_json=arguments.json)
    except KeyStoreError as error:
        output.failure((str(error),))
        return FAILED


def _action(actions: Subparsers, name: str, purpose: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.", allow_abbrev=False)
    add_config(parser)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the keys, instead of the file's")
    parser.add_argument("--json", action="store_true", help="JSON instead of lines")
    return parser


def _create_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--agent", required=True, type=_name, help="whose key it is; `any`: callers name their agent")
    parser.add_argument("--team", type=_name, help="the team its costs belong to")
    parser.add_argument("--model", action="append", metavar="MODEL", help="a configured model it may use; repeatable")
    parser.add_argument("--expires", type=length_s, metavar="TIME", help="ends after 90m, 12h, 30d ...")
    parser.add_argument(
        "--budget",
        action="append",
        type=_budget,
        metavar="LIMIT",
        help="what all calls with it may take: 5/day, 0.5/run, 400000tokens/minute; repeatable",
    )


def _name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError("a name has up to 64 letters, digits, dots, dashes and underscores")
    return text


def _budget(text: str) -> str:
    """In its canonical form, which the key keeps."""
    try:
        return text_of(limit_of(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _folder_and_names(arguments: argparse.Namespace) -> tuple[Path, Known | None]:
    """None: no file to compare with."""
    file: Path | None = arguments.config
    if file is None and DEFAULT_FILE.exists() and arguments.data_dir is None:
        file = DEFAULT_FILE
    if file is None:
        return arguments.data_dir or DEFAULT_FOLDER, None
    folder, models, teams = at_rest(file, os.environ)
    return arguments.data_dir or folder, Known(models, teams)


def _create(arguments: argparse.Namespace, store: KeyStore, known: Known | None, output: Output) -> int:
    wanted: tuple[str, ...] | None = tuple(arguments.model) if arguments.model else None
    if wanted and known is None:
        output.failure(("--model names a configured model, and there is no configuration here: add --config FILE",))
        return MISUSED
    unknown = [name for name in wanted or () if name not in known.models] if known else []
    if known and unknown:
        output.failure(f"there is no model {name!r}{nearest(name, known.models)}" for name in unknown)
        return MISUSED
    team = arguments.team
    if known and team is not None and team not in known.teams:  # a name for reports alone, or a slip
        output.note(f"no rules are configured for a team {team!r}, so no budget of a team{nearest(team, known.teams)}")
    agent = None if arguments.agent == "any" else arguments.agent
    budget = tuple(arguments.budget or ())
    record, text = store.create(agent, team=team, models=wanted, lasts_s=arguments.expires, budget=budget)
    if arguments.json:
        output.line(msgspec.json.encode({"id": record.id, "key": text}).decode())
    else:
        output.line(text)
        output.note(f"Shown this once. Its id is {record.id}; `headgate keys revoke {record.id}` ends it.")
    return 0


def _revoke(id: str, store: KeyStore, output: Output, *, as_json: bool) -> int:
    if not store.revoke(id):
        output.failure((f"there is no key {id!r}{nearest(id, [stored.id for stored in store.list()])}",))
        return FAILED
    if as_json:
        output.line(msgspec.json.encode({"revoked": id}).decode())
    output.note(f"{id} is revoked; a running gate refuses it within seconds")
    return 0


def _list(stored: tuple[StoredKey, ...], output: Output, *, as_json: bool) -> int:
    now = SystemClock().wall()
    if as_json:
        shown = [{**msgspec.structs.asdict(key), "state": _state(key, now)} for key in stored]
        without = [{name: value for name, value in key.items() if name != "digest"} for key in shown]
        output.line(msgspec.json.encode(without).decode())
        return 0
    rows = [
        (
            key.id,
            key.agent or "any",
            key.team or "-",
            " ".join(key.models or ("all",)),
            " ".join(key.budget) or "-",
            _state(key, now),
            _ages(key, now),
        )
        for key in stored
    ]
    output.table(("id", "agent", "team", "models", "budget", "state", "times"), rows)
    return 0


def _state(key: StoredKey, now: float) -> str:
    if key.revoked_wall is not None:
        return "revoked"
    return "expired" if key.expires_wall is not None and key.expires_wall <= now else "live"


def _ages(key: StoredKey, now: float) -> str:
    texts = [f"made {_roughly(now - key.created_wall)} ago"]
    if key.revoked_wall is not None:
        texts.append(f"revoked {_roughly(now - key.revoked_wall)} ago")
    elif key.expires_wall is not None:
        left = key.expires_wall - now
        texts.append(f"ends in {_roughly(left)}" if left > 0 else f"ended {_roughly(-left)} ago")
    return ", ".join(texts)


def _roughly(seconds: float) -> str:
    """The largest unit that fits: `3d`."""
    unit = next((unit for unit in ("d", "h", "m") if seconds >= LENGTHS[unit]), "s")
    return f"{max(seconds, 0) // LENGTHS[unit]:.0f}{unit}"
