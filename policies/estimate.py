"""What calls usually take: how many tokens a byte of input is, how long an answer becomes, how fast it comes.

Learnt from what providers report, forgotten slowly, bounded in size; nothing in here knows the time. A quantile is read
off a histogram with sixteen buckets an octave, at the upper edge of its bucket: at most a sixteenth too high, never too
low. What is held for a call on the strength of this is decided by `policies.budget`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from msgspec import Struct

from policies.recent import Recent
from pricing.gpu import GpuForecast
from proxy.types import Call, Target, Usage

KEPT_MAX: Final = 4_096  # keys and agents come and go; the longest unused are forgotten first
INPUTS_LEAST: Final = 200  # samples before the observed margin replaces the fixed one
OUTPUTS_LEAST: Final = 20
SAMPLES_MAX: Final = 8_192  # then all counts are halved, so that the present outweighs the past
REVIEW_EVERY: Final = 32  # samples between two looks at a histogram
UNITY: Final = 1_024  # a ratio of one
RATIO_MAX: Final = 64 * UNITY
WEIGHT: Final = 0.1  # of the newest sample in a running mean
SPEED_LEAST_S: Final = 0.2  # a shorter stream tells of buffers, not of a model
SAID_ONCE: Final = frozenset({"chat", "completions"})  # whose streams do not repeat their text when it ends
WATCHED_ENDPOINTS: Final = frozenset({"chat", "completions", "responses"})
THINKING: Final = frozenset({"reasoning", "reasoning_effort"})


class Expected(Struct, frozen=True):
    """What one call will probably take. Output counts one choice."""

    input_tokens: int
    input_margin: int  # what 999 of 1,000 such calls stay below
    q50: int | None = None  # None: too few have been seen
    q95: int | None = None
    watched: bool = False  # its output can be counted while it is made
    guard_tokens: int = 16  # made between the decision to stop a stream and its stop, by all choices together
    tokens_per_byte: float | None = None  # of a stream of this target; None: its first event has to do
    time: GpuForecast | None = None  # where not its tokens cost, but the time of an engine of one's own


class Histogram:
    """Counts of whole numbers, in buckets that grow with them."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts: defaultdict[int, int] = defaultdict(int)
        self.total = 0

    def __repr__(self) -> str:
        return f"Histogram({self.total} in {len(self._counts)} buckets)"

    def add(self, value: int) -> None:
        octave = value.bit_length() - 5  # as `_upper_edge`: below 32 a bucket each; above, an octave has sixteen
        bucket = value if octave <= 0 else 16 * octave + (value >> octave)
        self._counts[bucket] += 1
        self.total += 1
        if self.total >= SAMPLES_MAX:
            halves = {bucket: count // 2 for bucket, count in self._counts.items() if count > 1}
            self._counts = defaultdict(int, halves)
            self.total = sum(halves.values())

    def quantile(self, permille: int) -> int:
        """What at least so many of 1,000 samples do not exceed. 0 without any."""
        rank = -(-self.total * permille // 1_000)
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return _upper_edge(bucket)
        return 0


def _upper_edge(bucket: int) -> int:
    octave = bucket // 16 - 1
    return bucket if octave <= 0 else ((bucket - 16 * octave + 1) << octave) - 1


class _Inputs:
    """Reported input against the estimate, of one key at one target."""

    __slots__ = ("factor", "margin", "ratios")

    def __init__(self) -> None:
        self.ratios = Histogram()
        self.factor = 1.0
        self.margin: float | None = None

    def add(self, estimate: int, reported: int) -> None:
        ratio = min(RATIO_MAX, -(-reported * UNITY // (estimate or 1)))
        ratios = self.ratios
        ratios.add(ratio)
        total = ratios.total
        weight = WEIGHT if total * WEIGHT > 1 else 1 / total
        self.factor += weight * (ratio / UNITY - self.factor)
        if total >= INPUTS_LEAST and (self.margin is None or not total % REVIEW_EVERY):
            self.margin = ratios.quantile(999) / UNITY


class _Outputs:
    """Lengths of answers, of one agent on one route to one target."""

    __slots__ = ("lengths", "q50", "q95")

    def __init__(self) -> None:
        self.lengths = Histogram()
        self.q50: int | None = None
        self.q95: int | None = None

    def add(self, tokens: int) -> None:
        self.lengths.add(tokens)
        total = self.lengths.total
        if total >= OUTPUTS_LEAST and (self.q95 is None or not total % REVIEW_EVERY):
            self.q50, self.q95 = self.lengths.quantile(500), self.lengths.quantile(950)


class _Pace:
    """How the streams of one target come."""

    __slots__ = ("hides", "tokens_per_byte", "tokens_per_s")

    def __init__(self) -> None:
        self.tokens_per_byte: float | None = None
        self.tokens_per_s = 0.0
        self.hides: bool | None = None  # it thinks in tokens that nobody sees; None: it never thought

    def add(self, sample: Sample) -> None:
        tokens = sample.usage.output_total
        if sample.usage.reasoning and sample.stream_bytes:
            # The meter has seen the answer alone, or the thinking as well.
            self.hides = sample.seen < (tokens + sample.usage.output) / 2
        if tokens and sample.stream_bytes and not (sample.usage.reasoning and self.hides):
            self.tokens_per_byte = _mean(self.tokens_per_byte, tokens / sample.stream_bytes)
        if sample.stream_s >= SPEED_LEAST_S:
            self.tokens_per_s = _mean(self.tokens_per_s or None, tokens / sample.stream_s)


class _Seconds:
    """How long the answers of one target take, from sending to end."""

    __slots__ = ("mean",)

    def __init__(self) -> None:
        self.mean: float | None = None


class Sample(Struct, frozen=True):
    """What an attempt turned out to take, by the provider's word."""

    usage: Usage
    whole: bool  # the answer came to its own end
    stream_bytes: int = 0  # relayed; 0: not a stream, or one that says things twice
    seen: int = 0  # the meter's own count
    stream_s: float = 0.0  # from its first content to its end


class Experience:
    def __init__(self) -> None:
        self._inputs: Recent[tuple[str, str], _Inputs] = Recent(KEPT_MAX, _Inputs)
        self._outputs: Recent[tuple[str, str, str], _Outputs] = Recent(KEPT_MAX, _Outputs)
        self._paces: Recent[str, _Pace] = Recent(KEPT_MAX, _Pace)
        self._seconds: Recent[str, _Seconds] = Recent(KEPT_MAX, _Seconds)

    def __repr__(self) -> str:
        return f"Experience({len(self._inputs)} inputs, {len(self._outputs)} outputs, {len(self._paces)} paces)"

    def expected(self, call: Call, target: Target) -> Expected:
        estimate, who = call.input_tokens_estimate, call.identity
        inputs = self._inputs.find((who.key_id, target.id))
        outputs = self._outputs.find((who.agent, target.id, call.route))
        pace = self._paces.find(target.id)
        # Not below a quarter of the bytes: what is charged on this is better too much than too little.
        usual = estimate if inputs is None else max(estimate, round(estimate * inputs.factor))
        if inputs is None or inputs.margin is None:
            margin = (3 * usual + 1) // 2 + 64
        else:
            margin = max(usual, int(estimate * inputs.margin) + 1)
        return Expected(
            input_tokens=usual,
            input_margin=margin,
            q50=None if outputs is None else outputs.q50,
            q95=None if outputs is None else outputs.q95,
            watched=_is_watched(call, pace),
            guard_tokens=16 if pace is None else max(16, int(pace.tokens_per_s / 4)),
            tokens_per_byte=pace.tokens_per_byte if pace is not None and has_a_pace(call) else None,
        )

    def ended(self, call: Call, target: Target, sample: Sample) -> None:
        usage, who, id = sample.usage, call.identity, target.id
        if usage.source == "reported" and (reported := usage.input_total):
            self._inputs.get((who.key_id, id)).add(call.input_tokens_estimate, reported)
        if sample.whole:
            self._outputs.get((who.agent, id, call.route)).add(usage.output_total // call.head.choices)
            if sample.stream_s and usage.source == "reported":
                self._paces.get(id).add(sample)

    def took(self, target: Target, seconds: float) -> None:
        """A whole answer of an engine whose time is what costs."""
        learnt = self._seconds.get(target.id)
        learnt.mean = _mean(learnt.mean, seconds)

    def seconds(self, target: Target) -> float | None:
        learnt = self._seconds.find(target.id)
        return None if learnt is None else learnt.mean


def has_a_pace(call: Call) -> bool:
    """Whether a stream's bytes tell of its tokens as those of others at its target do: its text is said once, and not
    with log-probabilities, which take many times its bytes."""
    fields = call.head.fields
    return call.endpoint in SAID_ONCE and (fields is None or "logprobs" not in fields)


def _is_watched(call: Call, pace: _Pace | None) -> bool:
    """A plain reply is not seen before it is whole, nor is thinking that a provider keeps to itself."""
    if not call.head.stream or call.endpoint not in WATCHED_ENDPOINTS:
        return False
    if pace is not None and pace.hides is not None:
        return not pace.hides
    fields = call.head.fields
    return fields is None or fields.keys().isdisjoint(THINKING)


def _mean(old: float | None, new: float) -> float:
    return new if old is None else old + WEIGHT * (new - old)
