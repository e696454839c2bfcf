"""The part of the catalog that tells of quorums and debates."""

from __future__ import annotations

from typing import get_args

from proxy.observed import VoteResult
from proxy.telemetry.family import ROUTE, Label, counter

VOTED = Label("result", get_args(VoteResult))
FIRST_VOTE = Label("first_vote", ("same", "other"))

VOTES = (
    counter("quorum_calls_total", "Calls that several models voted on, by what the vote came to.", ROUTE, VOTED),
    counter("quorum_answers_total", "Answers that were asked for in these calls.", ROUTE),
    counter(
        "debates_total", "Debates by whether a plain vote over their first round says the same.", ROUTE, FIRST_VOTE
    ),
)
