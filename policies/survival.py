"""What becomes of a stream that breaks off after its first byte has gone to the client: whether another may go on.

An engine can go on with a message exactly if it takes the text so far as the beginning of its own answer. That is so
for text alone, of one answer: not inside a tool call or a thought, and not where the engine follows a grammar, which
it would begin anew. Everything else stays a stream that broke off, and its client is told so. How the text is known,
and how the two are joined, is the dialect's affair.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import DecodeError, Raw, Struct, json

from proxy.errors import ProxyError
from proxy.types import Call, Plan, Target

OnCut = Literal["error", "continue"]

CONTINUATIONS_MAX: Final = 2  # of one call
# What an engine would begin anew, count anew, or say again of the text that it is given.
ONCE_ONLY: Final = frozenset(
    {"audio", "continue_final_message", "echo", "logprobs", "min_tokens", "modalities", "prompt_logprobs"}
    | {"return_token_ids", "return_tokens_as_token_ids", "top_logprobs", "use_beam_search"}
    | {"ebnf", "guided_choice", "guided_grammar", "guided_json", "guided_regex", "json_schema", "regex"}
    | {"response_format", "structural_tag", "structured_outputs"}
)
NOTHING: Final = frozenset({b"null", b"false", b"0"})


class _Format(Struct):
    type: str = ""


_FORMAT = json.Decoder(_Format)


class Survival(Struct, frozen=True):
    """One agent's rules. `hold_tokens`: so much of a stream is kept back at first, so that who dies early is not
    noticed."""

    on_cut: OnCut = "error"
    hold_tokens: int = 0


def prepared(call: Call, plan: Plan) -> bool:
    """Whether what the client gets has to be remembered, because another target may have to go on with it."""
    if not call.head.stream or why_never(call) is not None:
        return False
    return any(target.traits.continues_messages for step in plan.steps if len(step) > 1 for target in step)


def why_never(call: Call) -> str | None:
    """Why the rest of such a call cannot be asked for, whatever was said so far; None: it can."""
    fields = call.head.fields
    if call.endpoint != "chat" or fields is None:
        return "only chats are continued"
    if call.head.choices != 1:
        return "it has several answers"
    for name in sorted(ONCE_ONLY & fields.keys()):
        if not _says_nothing(name, fields[name]):
            return f"`{name}` does not go together with it"
    return None


def why_not(error: ProxyError, continued: int) -> str | None:
    """Why a stream that ended in `error`, and was continued so often before, ends there; None: it may go on."""
    if error.source != "upstream" or error.retry == "never":
        return f"{error.code} would come again"
    return f"it was continued {continued} times" if continued >= CONTINUATIONS_MAX else None


def heirs(plan: Plan, broken: Target) -> tuple[Target, ...]:
    """Who may go on with what `broken` has begun: other targets of its step with the same model, which can."""
    step = next((step for step in plan.steps if broken in step), ())
    alike = [target for target in step if target.model == broken.model and target != broken]
    return tuple([target for target in alike if target.traits.continues_messages])


def _says_nothing(name: str, value: Raw) -> bool:
    if bytes(value) in NOTHING:
        return True
    if name != "response_format":
        return False
    try:
        return _FORMAT.decode(value).type == "text"
    except DecodeError:
        return False
