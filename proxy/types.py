"""The nouns of Headgate: what one call is, where it may go, what it cost.

Every type is a frozen `msgspec.Struct`, so a value handed from one step to the next cannot change behind its back.
`Outcome` is the one record of a call, built once, when the call has ended. Instants (`_at`) are seconds of the event
loop's clock unless the name says `wall`; lengths end in `_s`; money is integer nano-dollars, prices pico-dollars.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

from proxy.cache_hints import CacheHints
from proxy.observed import Arm, Begun, Climbed, Decision, Gaps, LookedUp, Looped, Reused, Spell, Voted
from proxy.reuse import Reuse

DialectName = Literal["openai"]
Endpoint = Literal["chat", "completions", "embeddings", "responses", "images", "speech", "transcriptions",
                   "moderations", "rerank", "other"]  # fmt: skip
RunSource = Literal["path", "header", "foreign", "body", "none"]
AgentSource = Literal["key", "path", "header", "foreign", "body", "gate", "none"]
Role = Literal["first", "retry", "hedge", "escalation", "member", "probe", "shadow"]
Lesson = Literal["success", "failure", "overload", "ignore"]
UsageSource = Literal["reported", "counted", "estimated"]
AbortRule = Literal["stops", "continues", "unknown"]
Mode = Literal["single", "cascade", "quorum", "debate"]
Unit = Literal["usd", "tokens", "requests", "steps", "concurrency"]
Per = Literal["minute", "hour", "day", "week", "month", "total", "run"]  # `run`: the total of each run
ServedBy = Literal["primary", "retry", "hedge", "fallback", "cascade", "quorum", "join", "cache", "best", "none"]
Rung = Literal["cheaper", "shorter", "cache_only", "queue", "stop"]  # of the ladder near the end of a budget
Balance = Literal["score", "weighted", "ordered", "least_cost", "lowest_latency"]  # how targets are chosen from
Priority = Literal["critical", "interactive", "standard", "batch"]  # who goes first where calls wait
ContentPolicy = Literal["off", "digest", "redacted", "full"]  # what is kept of the words of a call
Condition = Literal["context_window", "content_filter", "overload", "any"]  # the errors that a fallback is for


class Identity(Struct, frozen=True):
    """Who is calling and on whose behalf; ids correlate, only the key authorises."""

    key_id: str
    agent: str
    team: str | None = None
    agent_source: AgentSource = "none"
    run: str | None = None
    run_source: RunSource = "none"
    parent_run: str | None = None
    step: int | None = None
    depth: int = 0
    tags: tuple[tuple[str, str], ...] = ()
    models: tuple[str, ...] | None = None  # what the key may use; None: every configured model


class KeyRecord(Struct, frozen=True):
    """What a key may do. The key itself is never kept; `id` is safe to show."""

    id: str
    agent: str | None = None  # None: the caller may name its own agent
    team: str | None = None
    models: tuple[str, ...] | None = None  # None: every configured model
    expires_wall: float | None = None


class Usage(Struct, frozen=True):
    """Tokens of one attempt in disjoint classes: the sum of the fields is the whole bill, nothing counts twice."""

    input_uncached: int = 0
    input_cached: int = 0
    input_cache_write_5m: int = 0
    input_cache_write_1h: int = 0
    input_audio: int = 0
    input_image: int = 0
    output: int = 0
    reasoning: int = 0
    output_audio: int = 0
    source: UsageSource = "reported"
    flags: tuple[str, ...] = ()

    @property
    def input_total(self) -> int:
        writes = self.input_cache_write_5m + self.input_cache_write_1h
        return self.input_uncached + self.input_cached + writes + self.input_audio + self.input_image

    @property
    def output_total(self) -> int:
        return self.output + self.reasoning + self.output_audio


class Price(Struct, frozen=True):
    """Pico-dollars for one token of each class and for one call; immutable, named by its content hash `id`."""

    id: str
    input_uncached: int
    output: int
    input_cached: int
    input_cache_write_5m: int
    input_cache_write_1h: int
    input_audio: int
    input_image: int
    reasoning: int
    output_audio: int
    per_call: int = 0
    per_second: int = 0  # of an engine of one's own that serves nobody else meanwhile; its tokens cost nothing more
    long_context_above: int | None = None  # input tokens; above it `long_context` prices the whole call
    long_context: Price | None = None


class Traits(Struct, frozen=True):
    """What is known of a target beyond its address; the flags of an engine, never of a vendor's name."""

    context_tokens: int | None = None
    output_tokens_max: int | None = None
    reasoning_tokens_max: int = 0  # thinking of one choice that it does not count in the output limit
    stream_usage: bool = True  # it understands `stream_options.include_usage`
    vocabulary: str | None = None  # tiktoken encoding that counts its text, when one does
    output_limit_field: str = "max_tokens"  # of a chat request, where the client named no limit itself
    abort: AbortRule = "unknown"  # what a closed connection does to the bill
    continues_messages: bool = False  # exactly, where the last one is the beginning of its answer
    prefix_cache: bool = False  # an engine of one's own, which keeps the prompts that it has read
    kv_tokens: int | None = None  # how much of them it keeps, as far as it was stated


class Target(Struct, frozen=True):
    """One model at one provider: the smallest thing an attempt can be sent to."""

    id: str  # "provider/model"
    provider: str
    model: str
    price: Price | None  # None: unpriced; the policy decides whether that may run
    traits: Traits = Traits()
    weight: float = 1.0
    order: int = 0  # under `ordered`: those with the lowest number are asked first
    failure_domain: str = ""
    tiers: tuple[tuple[str, Price], ...] = ()  # prices by tier of service, where the vendor has several


class Head(Struct, frozen=True):
    """What a dialect reads from a request before anything is decided. `fields` are the top level, undecoded."""

    model: str
    stream: bool = False
    include_usage: bool = False  # the client itself asked for the usage event of a stream
    choices: int = 1
    output_tokens_max: int | None = None
    fields: dict[str, Raw] | None = None  # None: not a JSON object (multipart)
    compact: bool = False  # the body is known to be those fields and nothing else: no white space between them
    content_type: str = "application/json"
    folded: bool = False  # the client wants it whole; the upstream is asked for a stream all the same
    fallbacks: tuple[str, ...] = ()  # models that the client names beside its first
    reuse: Reuse | None = None  # what the body says of known answers
    begun: Begun | None = None  # what the client has of the reply; None: nobody goes on with one that breaks off

    def __repr__(self) -> str:
        return f"Head({self.model!r}, stream={self.stream}, choices={self.choices})"  # its fields are the prompt


class Call(Struct, frozen=True):
    """One client request. `raw` is the body as received and never changes."""

    id: str
    endpoint: Endpoint
    dialect: DialectName
    route: str  # the configured name that answers the model asked for; "" when none does
    head: Head
    raw: bytes
    identity: Identity
    arrived_at: float
    arrived_wall: float
    deadline: float
    input_tokens_estimate: int
    trace_id: str
    client_retry: int = 0
    priority: Priority = "standard"
    hops: int = 0  # gates that it has passed before this one
    hedged: bool = True  # the client lets it be sent twice
    reuse: Reuse | None = None  # None: it says nothing of known answers
    parent_span: str = ""  # of its caller, in the trace; "": it begins one
    cause: str = ""  # the id of the call because of which the gate makes this one; "": a client's own
    origin: str = ""  # what made it, where that is no client: a line of a batch, another call
    hints: CacheHints | None = None  # what an upstream is asked beside, for its prompt cache
    loop_allowed: bool = False  # it goes on though its run goes round in circles
    hurry: Literal["critical", "usual", "patient"] = "usual"  # others wait for it, says its client; it has hours
    votes_shown: bool = False  # the client wants to read in its reply how a vote went

    def __repr__(self) -> str:
        """Without the body: it is the prompt."""
        return f"Call({self.id}, {self.endpoint}, {self.head!r}, {len(self.raw)} bytes, agent={self.identity.agent!r})"

    @property
    def model(self) -> str:
        return self.head.model


class Plan(Struct, frozen=True):
    """How a call will be answered: by one of the targets of its first step, or by one of a later one, its fallbacks."""

    mode: Mode
    steps: tuple[tuple[Target, ...], ...]
    reason: str
    balance: Balance = "score"  # of the targets of each step
    degraded: tuple[Rung, ...] = ()  # what a budget that is nearly spent changed about it
    output_tokens_max: int | None = None  # the gate's own word on each choice, below what the client asked for
    fallbacks: tuple[tuple[Condition, str], ...] = ()  # of the second step on: what each is for, and its model
    members: tuple[Plan, ...] = ()  # of a cascade its rungs, the cheapest first; of a quorum those that are asked
    model: str = ""  # the configured name that it was made for
    arm: Arm | None = None  # of an experiment


class Amounts(Struct, frozen=True):
    """What a hold keeps back, or a settlement takes, in every unit that a limit can have."""

    usd_nanos: int = 0
    tokens: int = 0
    requests: int = 0
    steps: int = 0  # a run's calls
    concurrency: int = 0  # calls at the same time
    soft_usd_nanos: int | None = None  # what soft limits in money hold; None: the same as the others

    @property
    def by_index(self) -> tuple[int, int, int, int, int, int]:
        """In the order of `policies.limits.index`."""
        soft = self.usd_nanos if self.soft_usd_nanos is None else self.soft_usd_nanos
        return (self.usd_nanos, self.tokens, self.requests, self.steps, self.concurrency, soft)


class Period(Struct, frozen=True, array_like=True, cache_hash=True):
    """The name of one window of one limit on one account: what a ledger row, a seed and an adjustment refer to."""

    account: str
    unit: Unit
    per: Per
    id: int
    carrier: str  # whose limit it is: the account itself, or one above it (`per: run`)


class Charge(Struct, frozen=True, array_like=True):
    """What one call took from one limit in one window; `overrun` is the part for which there was no room."""

    period: Period
    amount: int
    overrun: int = 0


class Attempt(Struct, frozen=True):
    """One try at one target, ended."""

    number: int
    role: Role
    target: Target
    started_at: float
    duration_s: float
    lesson: Lesson
    usage: Usage | None = None  # None: nothing was billed
    cost_usd_nanos: int | None = 0  # None: unpriced, allowed by policy
    held_usd_nanos: int = 0
    gpu_s: float | None = None  # its share of the time of an engine of one's own
    idle_usd_nanos: int = 0  # the part of its cost that pays for time in which that engine stood idle
    exposure_usd_nanos: int = 0  # what it may have cost beyond its charge: its output limit allowed more than was held
    first_event_s: float | None = None
    status: int | None = None
    error_code: str | None = None
    upstream_request_id: str | None = None


class Outcome(Struct, frozen=True):
    """The one record of a call; exactly one exists for each call that was identified or refused."""

    call: Call
    plan: Plan | None
    attempts: tuple[Attempt, ...]
    status: int
    duration_s: float
    served_by: ServedBy = "none"
    error_code: str | None = None
    error_source: str | None = None
    upstream_s: float = 0.0  # waiting: for upstreams and judges, at limits and gates, before retries; in all
    first_event_s: float | None = None
    last_event_s: float | None = None
    gaps: Gaps | None = None  # streams only
    bytes_out: int = 0
    client_gone: bool = False
    config_version: str = ""
    charges: tuple[Charge, ...] = ()  # what it took from limits
    decisions: tuple[Decision, ...] = ()
    reused: Reused | None = None  # the known answer that it got; None: none
    looked_up: tuple[LookedUp, ...] = ()  # where it was looked for
    climbed: tuple[Climbed, ...] = ()  # the rungs of a cascade that were tried
    voted: Voted | None = None  # of a quorum or a debate
    loop: Looped | None = None  # where its run goes round in circles
    spells: tuple[Spell, ...] = ()  # of time that it spent before it was sent

    @property
    def target(self) -> Target | None:
        return self.attempts[-1].target if self.attempts else None

    @property
    def cost_usd_nanos(self) -> int | None:
        """Sum over all attempts; None as soon as one of them could not be priced."""
        costs = [cost for attempt in self.attempts if (cost := attempt.cost_usd_nanos) is not None]
        return sum(costs) if len(costs) == len(self.attempts) else None
