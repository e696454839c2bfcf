"""What an attempt is billed, for every way it can end."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies.settle import Evidence, usage
from proxy.types import Usage

SEEN = Evidence(ending="complete", reported=None, input_estimate=100, output_seen=40, output_least=40, held_output=1000)
REPORTED = Usage(input_uncached=90, output=44)


def billed(evidence: Evidence) -> tuple[int, int, str] | None:
    found = usage(evidence)
    return None if found is None else (found.input_total, found.output_total, found.source)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # a reply that came to its end
        ({"reported": REPORTED}, (90, 44, "reported")),
        ({}, (100, 40, "estimated")),
        ({"counted_output": 42}, (100, 42, "counted")),
        # nothing was produced
        ({"ending": "unsent"}, None),
        ({"ending": "refused"}, None),
        ({"ending": "refused", "reported": REPORTED}, None),
        # the upstream broke off: input and what was relayed
        ({"ending": "cut"}, (100, 40, "estimated")),
        ({"ending": "cut", "output_seen": 0}, (100, 0, "estimated")),
        ({"ending": "cut", "reported": REPORTED}, (90, 44, "reported")),
        ({"ending": "cut", "watched": False, "output_seen": 0}, (100, 1000, "estimated")),
        # the gate closed it: by the provider's abort rule
        ({"ending": "abandoned", "abort": "stops"}, (100, 40, "estimated")),
        ({"ending": "abandoned", "abort": "unknown"}, (100, 1000, "estimated")),
        ({"ending": "abandoned", "abort": "continues"}, (100, 1000, "estimated")),
        ({"ending": "abandoned", "abort": "unknown", "output_seen": 5000}, (100, 5000, "estimated")),
        ({"ending": "abandoned", "abort": "stops", "reported": REPORTED}, (90, 44, "reported")),
    ],
)
def test_each_ending_has_its_bill(changes: dict[str, object], expected: tuple[int, int, str] | None) -> None:
    assert billed(structs.replace(SEEN, **changes)) == expected


def test_a_reported_zero_stays_zero_when_nothing_was_relayed() -> None:
    zero = structs.replace(SEEN, reported=Usage(input_uncached=90, output=0), output_seen=0, output_least=0)
    assert billed(zero) == (90, 0, "reported")


def test_a_reported_zero_against_relayed_text_is_not_believed() -> None:
    lying = usage(structs.replace(SEEN, reported=Usage(input_uncached=90, output=0), output_seen=400))
    assert lying is not None
    assert lying.output_total >= 180
    assert "clamped" in lying.flags


def test_an_absurd_figure_is_clamped_to_the_context() -> None:
    absurd = usage(structs.replace(SEEN, reported=Usage(input_uncached=10, output=10**9), context_tokens=128_000))
    assert absurd is not None
    assert absurd.output_total <= 256_000
    assert "clamped" in absurd.flags


def test_missing_usage_is_flagged_as_missing() -> None:
    found = usage(SEEN)
    assert found is not None
    assert found.flags == ("missing",)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # tokens are made until the upstream has noticed the close
        ({"ending": "abandoned", "abort": "stops", "guard": 16}, (100, 56)),
        # sent, nothing seen: the input as it was held
        ({"ending": "cut", "output_seen": 0, "input_held": 214}, (214, 0)),
        ({"ending": "cut", "input_held": 214}, (100, 40)),
        # a figure that was still running is a lower bound of the output, and the truth about the input
        ({"ending": "abandoned", "abort": "stops", "reported": REPORTED, "running": True, "guard": 16}, (90, 56)),
        ({"ending": "abandoned", "abort": "unknown", "reported": REPORTED, "running": True}, (90, 1000)),
        ({"ending": "cut", "reported": REPORTED, "running": True}, (90, 44)),
    ],
)
def test_what_was_still_being_made_is_not_left_out(changes: dict[str, object], expected: tuple[int, int]) -> None:
    assert billed(structs.replace(SEEN, **changes)) == (*expected, "estimated")


def test_a_stream_that_was_cut_says_so_whatever_it_was_charged() -> None:
    changes: dict[str, object]
    for changes in ({"ending": "abandoned"}, {"reported": REPORTED}, {"ending": "abandoned", "abort": "stops"}):
        found = usage(structs.replace(SEEN, cut=True, **changes))
        assert found is not None
        assert found.flags[-1] == "cut"
    assert usage(structs.replace(SEEN, cut=True, ending="unsent")) is None


def test_a_figure_is_bounded_by_the_context_and_the_longest_answers_together() -> None:
    most = structs.replace(SEEN, context_tokens=1_000, output_tokens_max=100, choices=3)
    assert usage(structs.replace(most, reported=Usage(input_uncached=1_000, output=300))) == Usage(1_000, output=300)
    found = usage(structs.replace(most, reported=Usage(input_uncached=1_000, output=301)))
    assert found is not None
    assert (found.input_total + found.output_total, found.flags) == (1_300, ("clamped",))
