"""From the match rules of the genai-prices package to the names of the price book; part of `generate_prices`.

The book knows exact names, `#` for a digit of a snapshot's date, and `*` at either end. Rules it cannot express are
narrowed, never widened: a model without a price is refused, a model with the price of another is not noticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

Clause = object  # one of the package's ClauseEquals, ClauseStartsWith, ClauseContains, ClauseEndsWith, ...

BY_HAND = {
    # The source says "contains", which takes o4-mini-deep-research for it.
    "azure/o4-mini": ("o4-mini", "o4-mini-2025-04-16"),
    # The source leaves the vendor out of these two.
    "aws/amazon.titan-text-express-v1": ("amazon.titan-text-express-v1",),
    "aws/amazon.titan-text-lite-v1": ("amazon.titan-text-lite-v1",),
}
LITERALS = {"equals": "{}", "starts_with": "{}*", "contains": "*{}*", "ends_with": "*{}"}
_PIECE = re.compile(r"(?P<digits>\\d(?:\{(?P<count>\d)\})?)|\[-@\]|\\(?P<escaped>[.\[\]])|(?P<plain>[a-z0-9/:=~@-])")

_REGION = re.compile(r"/?(us|us-gov|eu|apac|ap|au|jp|in|global)\.")


class Irreducible(Exception):
    """A rule the book's names cannot express."""


def names_of(subject: str, clause: Clause) -> tuple[str, ...]:
    """Every name of a model, in a stable order and without repeats; raises Irreducible."""
    found: Iterable[str] = BY_HAND.get(subject) or (name.lower() for name in _names(clause))
    if subject.startswith("aws/"):
        found = (narrow for name in found for narrow in _in_us_regions(name))
    return tuple(dict.fromkeys(found))


def _in_us_regions(name: str) -> Iterator[str]:
    """Bedrock's prices differ by region and the source's are those of the United States, though it takes any region's
    name for `contains amazon.nova-lite`. Rules that name a region stay, and Claude's: its older prices have none."""
    vendor = name.removeprefix("*")
    if name == vendor or "claude" in vendor or _REGION.match(vendor):
        yield name
        return
    yield from (vendor, f"us.{vendor}", f"*/us.{vendor}")


def _names(clause: Clause) -> Iterator[str]:
    rule = vars(clause)
    for kind, form in LITERALS.items():
        if kind in rule:
            yield form.format(_literal(rule[kind]))
    for part in rule.get("or_", ()):
        yield from _names(part)
    if "regex" in rule:
        yield from _of_regex(rule["regex"])
    if "and_" in rule:
        yield from _versions(rule["and_"])


def _literal(text: str) -> str:
    if not text or set(text) & set("*#"):
        raise Irreducible(f"name {text!r}")
    return text


def _of_regex(regex: str) -> Iterator[str]:
    """`^grok-4\\.3-\\d{8}$` is grok-4.3-########; without `$` each digit is written out, for a pattern has no `#`."""
    if not regex.startswith("^"):
        raise Irreducible(f"regex {regex}")
    forms, at, end = [""], 1, len(regex) - regex.endswith("$")
    while at < end:
        piece = _PIECE.match(regex, at)
        if piece is None:
            raise Irreducible(f"regex {regex}")
        if piece["digits"]:
            choices = ["#" * int(piece["count"] or 1)]
        elif piece["escaped"] or piece["plain"]:
            choices = [piece["escaped"] or piece["plain"]]
        else:
            choices = ["-", "@"]
        forms = [form + choice for form in forms for choice in choices]
        at = piece.end()
    for form in forms:
        if regex.endswith("$"):
            yield form
        else:
            yield from (f"{form.replace('#', str(digit))}*" for digit in range(10))


def _versions(clauses: list[Clause]) -> Iterator[str]:
    """A beginning with an exception (`gemini-2.5-pro` but not its speech model): the name and its numbered versions."""
    starts = [vars(clause).get("starts_with") for clause in clauses]
    if len(starts) != 2 or starts[0] is None or "(?!.*-[tT][tT][sS]" not in vars(clauses[1]).get("regex", ""):
        raise Irreducible("a condition")
    start = _literal(starts[0])
    yield start
    yield f"{start}-preview"
    for middle in ("", "-preview", "-exp"):
        yield from (f"{start}{middle}-{digit}*" for digit in range(2))
