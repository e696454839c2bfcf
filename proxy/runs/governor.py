"""What an operator may do to runs and accounts while they run: kill, pause, resume, top up.

Each command is carried out once, however often its id comes, stands in the ledger before it is answered, and survives a
restart. Who may give one is decided at the admin listener's door; what it does to calls in flight, in `Runs.apply`,
here or in every process that serves.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from msgspec import Struct, json, structs

from policies.runs import Bounds, Mark
from proxy.errors import ProxyError
from proxy.money.budgets import Budgets
from proxy.runs.registry import STATES, Applied, RunCommand, Runs, Seen
from proxy.state import run_queries
from proxy.state.events import TopUp
from proxy.state.run_report import Governed, Raised, ToppedUp
from proxy.tenancy import is_tenant, run_id, run_name, split

COMMANDS_MAX = 4_096  # whose answers are remembered
IDLE_S = Bounds().idle_s  # runs that have been idle for longer need not be known

Apply = Callable[[RunCommand], Awaitable[Applied]]


class Notebook(Protocol):
    """The ledger, as far as commands are concerned."""

    def append_event(self, kind: str, subject: str, body: object) -> None: ...

    async def flush(self) -> None: ...


class Memory(Struct, frozen=True):
    """What the ledger knows of commands that were carried out before the start, the oldest first."""

    commands: tuple[RunCommand, ...] = ()
    seen: tuple[Seen, ...] = ()


class Governor:
    def __init__(
        self, runs: Runs, budgets: Budgets, notebook: Notebook, seen: Callable[[str], Awaitable[bool]], *, apply: Apply
    ) -> None:
        """`seen`: whether the ledger knows a run. `apply`: reaches every process that serves."""
        self._runs = runs
        self._budgets = budgets
        self._notebook = notebook
        self._seen = seen
        self._apply = apply
        self._known: OrderedDict[str, RunCommand] = OrderedDict()  # carried out, or about to be
        self._answers: dict[str, asyncio.Future[Governed]] = {}  # of those of this process

    def __repr__(self) -> str:
        return f"Governor({len(self._known)} commands, {self._runs!r})"

    def restore(self, memory: Memory) -> None:
        for command in memory.commands:
            self._remember(command)
        self._runs.restore(_marks(memory.commands), memory.seen)

    async def govern(self, command: RunCommand, *, unseen: bool = False) -> Governed:
        """Kill, pause or resume. Raises ProxyError when the run was never seen (unless `unseen`), or is killed."""
        if self._repeats(command):
            return await self._again(command)
        if not (unseen or self._runs.knows(command.run) or await self._seen(command.run)):
            message = "no call of this run was ever seen; `unseen` (--unseen) refuses it all the same"
            raise ProxyError("unknown_path", message)
        if command.kind != "kill" and self._runs.mark_of(command.run) == "killed":
            raise ProxyError("run_killed", "this run was killed, and that is final", status=409)
        if self._repeats(command):  # it came twice, and the other one was faster
            return await self._again(command)
        self._remember(command)
        answer = self._answers[command.id] = asyncio.get_running_loop().create_future()
        try:
            governed = await self._carry_out(command)
            answer.set_result(governed)
        finally:
            if not answer.done():  # it failed, and may be tried again
                self._forget(command.id)
                answer.cancel()
        return governed

    async def top_up(self, command: RunCommand) -> ToppedUp:
        """Raises every limit in `unit` of one account, in its open windows. Raises ProxyError when there is none, or
        when it is that of a killed run."""
        if self._repeats(command):
            return self._topped_up(command, repeated=True)
        account, unit, amount = command.run, command.unit, command.amount
        if account.startswith("run:") and self._runs.state(account.removeprefix("run:")).state == "killed":
            raise ProxyError("run_killed", "this run was killed, and that is final: more room is of no use", status=409)
        changes = self._budgets.top_up(command.id, account, unit=unit, amount=amount)
        if changes is None:
            message = f"no limit in {unit} stands on this account, so there is nothing to top up"
            raise ProxyError("invalid_request", message, status=409)
        self._remember(command)
        body = TopUp(id=command.id, unit=unit, amount=amount, changes=changes, by=command.by)
        self._notebook.append_event("topup", account, body)
        await self._notebook.flush()
        return self._topped_up(command, repeated=False)

    async def _carry_out(self, command: RunCommand) -> Governed:
        self._notebook.append_event("run", command.run, command)
        self._runs.mark(command)  # also where the calls are in other processes
        done = await self._apply(command)
        self._runs.applied(command)
        await self._notebook.flush()
        return self._governed(command.run, done, repeated=False)

    async def _again(self, command: RunCommand) -> Governed:
        answer = self._answers.get(command.id)
        if answer is None:
            return self._governed(command.run, Applied(), repeated=True)
        return structs.replace(await asyncio.shield(answer), repeated=True)

    def _governed(self, run: str, done: Applied, *, repeated: bool) -> Governed:
        state, (owner, name) = self._runs.state(run), split(run)
        return Governed(
            run=name,
            tenant=owner,
            state=state.state,
            stopped_by=None if state.stopped_by is None else run_name(state.stopped_by),
            interrupted=done.interrupted,
            draining=done.draining,
            cost_usd_nanos=done.cost_usd_nanos,
            running=done.running,
            repeated=repeated,
        )

    def _topped_up(self, command: RunCommand, *, repeated: bool) -> ToppedUp:
        standings = [each for each in self._budgets.standing(command.run) if each.period.unit == command.unit]
        limits = []
        for each in standings:
            spent = each.totals.spent + each.totals.overrun + each.totals.unresolved
            limits.append(Raised(each.period.per, each.limit, spent, max(0, each.limit - spent - each.held)))
        return ToppedUp(command.run, command.unit, command.amount, limits, repeated)

    # --- ids ---------------------------------------------------------------------------------------------------------

    def _repeats(self, command: RunCommand) -> bool:
        before = self._known.get(command.id)
        if before is None:
            return False
        if structs.replace(before, by=command.by, at_wall=command.at_wall) != command:
            raise ProxyError("invalid_request", "this id belongs to another command", status=422, param="id")
        return True

    def _remember(self, command: RunCommand) -> None:
        self._known[command.id] = command
        if len(self._known) > COMMANDS_MAX:
            self._answers.pop(self._known.popitem(last=False)[0], None)

    def _forget(self, id: str) -> None:
        self._known.pop(id, None)
        self._answers.pop(id, None)


def recall(connection: sqlite3.Connection, wall: float) -> Memory:
    """Read once, before the first call."""
    said = [_command(*row) for row in run_queries.commands(connection)]
    commands = tuple([each for command in said for each in _of_tenants(connection, command)])
    lately = run_queries.lately(connection, int((wall - IDLE_S) * 1000))
    return Memory(commands, tuple([_seen(*row) for row in lately]))


def _seen(owner: str, run: str, parent: str | None, first_ms: int, last_ms: int) -> Seen:
    above = None if parent is None else run_id(owner, parent)
    return Seen(run_id(owner, run), above, first_ms / 1000, last_ms / 1000)


def _of_tenants(connection: sqlite3.Connection, command: RunCommand) -> list[RunCommand]:
    """From before runs had tenants: a name alone, which was everybody's."""
    if command.kind == "topup" or is_tenant(split(command.run)[0]):
        return [command]
    owners = run_queries.owners(connection, command.run)
    return [structs.replace(command, run=run_id(owner, command.run)) for owner in owners]


def _command(kind: str, subject: str, body: str) -> RunCommand:
    if kind == "run":
        return json.decode(body, type=RunCommand)
    made = json.decode(body, type=TopUp)
    return RunCommand("topup", subject, made.id, made.by, 0.0, unit=made.unit, amount=made.amount)


def _marks(commands: Iterable[RunCommand]) -> list[tuple[str, Mark]]:
    """Where they have led; killed stays."""
    marks: dict[str, Mark | None] = {}
    for command in commands:
        if command.kind != "topup" and marks.get(command.run) != "killed":
            marks[command.run] = STATES[command.kind]
    return [(run, mark) for run, mark in marks.items() if mark is not None]
