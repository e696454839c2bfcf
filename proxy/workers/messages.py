"""What supervisor and worker say to each other. Each direction is one closed union, in the order it was sent.

A message is a msgpack array that begins with its tag. The channel itself is the fence: it belongs to one process of one
slot, what a dead process wrote is read to its end before its successor's first word, and nobody else can write to it.
"""

from __future__ import annotations

from msgspec import Struct

from policies.conformal import Label
from policies.experiment import Sample
from policies.leases import Returned, Terms, Used, Wanted
from policies.runs import Mark
from proxy.caching.stock import Gone, Purge, Stock
from proxy.execution.given import Word
from proxy.money.lease_messages import Asking, Feeling, Felt, Granted, Refused, Withdrawn
from proxy.runs.registry import Applied, RunCommand, RunState, Seen
from proxy.state.ledger_rows import Entry
from proxy.state.target_report import Standing
from proxy.telemetry.log import Field, Level
from proxy.telemetry.merging import Change
from proxy.workers.gate_messages import Entering, KeptOut, LetIn, Over, Unwanted

# --- from a worker


class Ready(Struct, frozen=True, array_like=True, tag="ready"):
    """It accepts connections."""


class Failed(Struct, frozen=True, array_like=True, tag="failed"):
    """It cannot serve this configuration."""

    why: str


class GaveBack(Struct, frozen=True, array_like=True, tag="return"):
    returned: tuple[Returned, ...]


class Renewing(Struct, frozen=True, array_like=True, tag="renew"):
    wanted: tuple[Wanted, ...]


class Settled(Struct, frozen=True, array_like=True, tag="settled"):
    """One call, ended: its rows, and what it used of which leases. It is in the slot's journal first."""

    seq: int
    entry: Entry
    used: tuple[Used, ...]


class Beat(Struct, frozen=True, array_like=True, tag="beat"):
    """Each second, and at the end. `sent_at` is by the worker's clock; the metrics are what has changed since."""

    sent_at: float
    in_flight: int
    drift_usd_nanos: int  # spend by its metrics less the cost of the calls it has handed over
    metrics: tuple[Change, ...]


class Prepared(Struct, frozen=True, array_like=True, tag="prepared"):
    """The next configuration stands ready; or why it cannot."""

    version: str
    why: str | None = None


class Done(Struct, frozen=True, array_like=True, tag="done"):
    """What a command on a run has done here."""

    number: int
    applied: Applied


class Looked(Struct, frozen=True, array_like=True, tag="looked"):
    """Runs as they are here."""

    number: int
    states: tuple[RunState, ...]


class Surveyed(Struct, frozen=True, array_like=True, tag="surveyed"):
    """Targets as they stand here."""

    number: int
    standings: tuple[Standing, ...]


class Stocked(Struct, frozen=True, array_like=True, tag="stocked"):
    """Known answers that are kept here, and how many a purge has taken away."""

    number: int
    stock: Stock
    gone: Gone


class Linked(Struct, frozen=True, array_like=True, tag="linked"):
    """A run has named its parent; the supervisor passes it on to the others."""

    run: str
    parent: str


class Told(Struct, frozen=True, array_like=True, tag="told"):
    """An event that the worker has written to the log, for whoever looks on."""

    name: str
    level: Level
    fields: dict[str, Field]
    wall: float


class Heeded(Struct, frozen=True, array_like=True, tag="heeded"):
    """How many answers of this worker a word was about."""

    number: int
    count: int


# --- from either


class Labelled(Struct, frozen=True, array_like=True, tag="label"):
    """What was learnt of a rung of a cascade; the supervisor keeps it and passes it on to the others."""

    label: Label


class Sampled(Struct, frozen=True, array_like=True, tag="sample"):
    """What a call adds to an experiment; the supervisor keeps it."""

    experiment: str
    sample: Sample


# --- from the supervisor


class Welcome(Struct, frozen=True, array_like=True, tag="welcome"):
    """The first word."""

    number: int
    config: bytes  # as `config.carried` made it
    journal: str  # path
    terminal: bool  # the form of the log
    marks: tuple[tuple[str, Mark], ...]  # runs that are paused or killed
    seen: tuple[Seen, ...]  # who stands below whom, and since when
    labels: tuple[Label, ...] = ()  # of the rungs of cascades


class Renewed(Struct, frozen=True, array_like=True, tag="renewed"):
    lent: tuple[Terms, ...]


class Recalled(Struct, frozen=True, array_like=True, tag="recall"):
    numbers: tuple[int, ...]


class Acknowledged(Struct, frozen=True, array_like=True, tag="ack"):
    """All settlements up to this one are in the ledger."""

    seq: int


class Heard(Struct, frozen=True, array_like=True, tag="heard"):
    """The answer to a beat, with its own `sent_at`."""

    sent_at: float
    accepting: bool  # the ledger takes new calls


class Prepare(Struct, frozen=True, array_like=True, tag="prepare"):
    version: str
    config: bytes  # as `config.carried` made it


class Swap(Struct, frozen=True, array_like=True, tag="swap"):
    """All are ready: this configuration is in force from here on."""

    version: str


class Command(Struct, frozen=True, array_like=True, tag="command"):
    number: int
    command: RunCommand


class Look(Struct, frozen=True, array_like=True, tag="look"):
    number: int
    runs: tuple[str, ...]
    named: str = ""  # and every run that is called so


class Survey(Struct, frozen=True, array_like=True, tag="survey"):
    number: int


class TakeStock(Struct, frozen=True, array_like=True, tag="stock"):
    """Of the known answers, after a purge if there is one."""

    number: int
    purge: Purge | None


class Heed(Struct, frozen=True, array_like=True, tag="heed"):
    """What somebody says of answers."""

    number: int
    word: Word


class Stop(Struct, frozen=True, array_like=True, tag="stop"):
    """Accept nothing more, let what runs end, and exit."""


FromLeases = Asking | Feeling | Withdrawn | GaveBack | Renewing
FromGates = Entering | Unwanted | Over
Upward = (
    FromLeases
    | FromGates
    | Ready
    | Failed
    | Settled
    | Beat
    | Prepared
    | Done
    | Looked
    | Surveyed
    | Stocked
    | Linked
    | Labelled
    | Sampled
    | Heeded
    | Told
)
ToLeases = Granted | Felt | Refused | Renewed | Recalled
Downward = (
    ToLeases
    | LetIn
    | KeptOut
    | Welcome
    | Acknowledged
    | Heard
    | Prepare
    | Swap
    | Command
    | Look
    | Survey
    | TakeStock
    | Linked
    | Labelled
    | Heed
    | Stop
)
