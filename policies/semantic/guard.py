"""Whether two wordings differ in something that an embedding hardly sees: a number, a name, a "not", an order.

A changed number moves a vector less than a paraphrase does, so no threshold on the cosine is safe without this. It only
ever forbids: two texts that pass have still to prove that their answers are the same (`confidence`). A text is read
once, when its entry is stored or when it is looked up; `differ` then compares what was read.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from msgspec import Struct

_WORD: Final = re.compile(r"[^\W_]+(?:[.,:'’\-/][^\W_]+)*")
_NUMBER: Final = re.compile(r"([$€£¥]?)\s?(\d+(?:[.,:/]\d+)*)\s?(%|°|[^\W\d_]*)")
_QUOTED: Final = re.compile(r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|`([^`]+)`|(?<!\w)'([^']+)'(?!\w)")
_SENTENCE: Final = re.compile(r"(?:^|[.!?:]\s+)[\"“'(]*")
_NEGATION: Final = re.compile(r"n['’]t$")

COMMON_LEAST: Final = 0.2  # of the words that carry something


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple([(pair.partition("/")[0], pair.partition("/")[2]) for pair in text.split()])


NEGATIONS: Final = _words(
    """
    not no never none nobody nothing nor neither without cannot dont doesnt didnt cant wont isnt arent wasnt
    shouldnt couldnt wouldnt except unless
    """
)
COUNTS: Final = _words(
    """
    two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand
    million billion half double twice triple first second third
    """
)
UNITS: Final = _words(
    """
    mm cm m km in inch inches ft foot feet yd yard yards mi mile miles mg g kg gram grams ton tons lb lbs pound
    pounds oz ounce ounces ml l liter liters litre litres gallon gallons c f k v w kw kwh mw a ma hz khz mhz ghz
    b kb mb gb tb bit bits byte bytes s sec second seconds min minute minutes h hour hours day days week weeks
    month months year years dollar dollars usd euro euros eur rupee rupees rs inr lakh crore percent degree
    degrees am pm th st nd rd million billion thousand
    """
)
ASKING: Final = _words(
    """
    who whom whose when where why
    """
)
FILLING: Final = _words(
    """
    a an the of in on at to for from by with is are was were be been am do does did can could will would should
    shall may might must have has had i you he she it we they me my your his her its our their and or so as that
    this these those there here what which who whom whose when where why how if than then some any get got one
    ones
    """
)
OPPOSITES: Final = _pairs(
    """
    buy/sell increase/decrease raise/lower gain/lose gain/loss add/remove start/stop begin/end open/close
    enable/disable on/off up/down before/after above/below over/under more/less most/least best/worst good/bad
    better/worse high/low higher/lower highest/lowest hot/cold warm/cool fast/slow old/new young/old long/short
    large/small big/small early/late first/last left/right north/south east/west male/female man/woman men/women
    boy/girl boys/girls husband/wife father/mother son/daughter brother/sister he/she his/her king/queen
    import/export encode/decode encrypt/decrypt install/uninstall upload/download lock/unlock login/logout
    push/pull send/receive give/take lend/borrow win/lose love/hate like/dislike accept/reject allow/deny
    include/exclude internal/external inner/outer input/output public/private legal/illegal possible/impossible
    true/false yes/no positive/negative advantage/disadvantage advantages/disadvantages pros/cons
    benefit/drawback benefits/drawbacks maximum/minimum max/min always/never with/without day/night
    summer/winter morning/evening past/future married/single rich/poor strong/weak light/dark black/white
    alive/dead create/delete create/destroy save/delete forward/backward horizontal/vertical credit/debit
    asset/liability supply/demand cause/effect question/answer student/teacher buyer/seller
    prokaryotic/eukaryotic
    """
)


class Features(Struct, frozen=True):
    """What must be equal in two texts, and the words by which the rest is compared."""

    numbers: tuple[str, ...]  # with their units, in order
    negations: int
    quoted: frozenset[str]
    named: frozenset[str]  # words with a capital, but for the first of a sentence, in lower case
    coded: frozenset[str]  # words with a digit in them
    asking: frozenset[str]
    words: frozenset[str]
    content: tuple[str, ...]  # words that carry something, in order


def read(text: str) -> Features:
    spoken = _WORD.findall(text)
    words = [word.lower().replace("’", "'") for word in spoken]
    opening = {match.end() for match in _SENTENCE.finditer(text)}
    named = {
        match.group().lower()
        for match in _WORD.finditer(text)
        if match.group()[0].isupper()
        and (match.start() not in opening or match.group()[1:] != match.group()[1:].lower())
    }
    return Features(
        numbers=_numbers(text, words),
        negations=sum(word in NEGATIONS or _NEGATION.search(word) is not None for word in words),
        quoted=frozenset("".join(parts).strip().lower() for parts in _QUOTED.findall(text)),
        named=frozenset(word for word in named if word not in FILLING),
        coded=frozenset(word for word in words if _is_code(word)),
        asking=ASKING.intersection(words),
        words=frozenset(words),
        content=tuple(word for word in words if word not in FILLING),
    )


def differ(one: Features, other: Features) -> str | None:
    """In what two texts differ that must be equal; None: in nothing."""
    if sorted(one.numbers) != sorted(other.numbers) or one.coded != other.coded:
        return "numbers"
    if one.negations != other.negations:
        return "negation"
    if one.quoted != other.quoted:
        return "quoted text"
    if not (one.named <= other.words and other.named <= one.words):
        return "names"
    if one.asking != other.asking:
        return "what is asked"
    if _reordered(one, other):
        return "order"
    if _strangers(frozenset(one.content), frozenset(other.content)):
        return "nearly every word"
    return "opposites" if _opposed(one.words, other.words) else None


def _is_code(word: str) -> bool:
    """A name with a digit in it; a figure with its unit is a number however it is written."""
    if not any(character.isdigit() for character in word):
        return False
    figure = _NUMBER.fullmatch(word)
    return figure is None or (figure.group(3) != "" and figure.group(3) not in UNITS)


def _numbers(text: str, words: list[str]) -> tuple[str, ...]:
    written = [
        f"{sign}{digits}{unit.lower() if unit.lower() in UNITS or unit in ('%', '°') else ''}"
        for sign, digits, unit in _NUMBER.findall(text)
    ]
    return (*written, *(word for word in words if word in COUNTS))


def _reordered(one: Features, other: Features) -> bool:
    """The same words that carry something, in another order: from A to B is not from B to A."""
    return one.content != other.content and Counter(one.content) == Counter(other.content)


def _strangers(one: frozenset[str], other: frozenset[str]) -> bool:
    """Hardly a word in common: whoever lies near it then may have been made to (an embedding can be aimed at)."""
    return len(one & other) < COMMON_LEAST * len(one | other)


def _opposed(one: frozenset[str], other: frozenset[str]) -> bool:
    mine, theirs = one - other, other - one
    return any((a in mine and b in theirs) or (b in mine and a in theirs) for a, b in OPPOSITES)
