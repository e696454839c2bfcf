"""Do the cheaper models do? What cascades accept and hand on, what that saves, and what it costs in time."""

from __future__ import annotations

from grafana.frame import dashboard
from grafana.panels import Json, lines, right, signed, stack, stat
from grafana.queries import chosen, increase, most, quantile, rate, share, share_shown

STEPS, BASELINE, ACTUAL = "cascade_steps_total", "cascade_baseline_usd_total", "cascade_actual_usd_total"
ACCEPTED, HANDED_ON = (f'{STEPS}{{decision="{decision}"}}' for decision in ("accept", "escalate"))


def now() -> list[Json]:
    return [
        stat(
            "Net saved",
            "What the last rung alone would have cost, less what was paid, in the shown time. Below zero: switch "
            "it off.",
            f"{increase(BASELINE)} - {increase(ACTUAL)}",
            unit="currencyUSD",
        ),
        stat(
            "Saved, as a share",
            "Of what the last rung alone would have cost. Small: the first rung is asked in vain too often.",
            f"1 - {share_shown(ACTUAL, BASELINE)}",
            unit="percentunit",
        ),
        stat(
            "Answered below the top",
            "Share of tried rungs whose answer was accepted. Low: a stronger first rung, or a milder test, saves more.",
            share(ACCEPTED, STEPS),
            unit="percentunit",
        ),
    ]


def course() -> list[Json]:
    first = chosen("time_to_first_token_seconds", "route", 'served_by="cascade"')
    return [
        stack(
            "Decisions",
            "Rungs that were tried, the first being 0. Many `error`: that rung's target fails; see Upstreams.",
            (rate(STEPS, "cascade", "tier", "decision") + " > 0", "{{cascade}} {{tier}} {{decision}}"),
            unit="reqps",
        ),
        lines(
            "Handed on",
            "Share of a rung's answers that were not good enough. Above a half, asking it costs more than it saves.",
            (share(HANDED_ON, STEPS, "cascade", "tier"), "{{cascade}} {{tier}}"),
            unit="percentunit",
        ),
        signed(
            lines(
                "Saved per hour",
                "In US dollars, by cascade, the cost of judges not counted. Below zero for long: a cheaper first "
                "step, or a higher `max_loss`.",
                (f"({rate(BASELINE, 'cascade')} - {rate(ACTUAL, 'cascade')}) * 3600", "{{cascade}}"),
                unit="currencyUSD",
            )
        ),
        lines(
            "First token through a cascade, p95",
            "Streams. What clients wait for the test of the first answers, and for the next rung.",
            (quantile(0.95, first, "route"), "{{route}}"),
            unit="s",
        ),
    ]


def evidence() -> list[Json]:
    return [
        stack(
            "Accepted, by why",
            "`evidence`: what was learned of such calls says so; `passed`: the gates; `last`: nobody else could "
            "be asked.",
            (rate("cascade_accepted_total", "cascade", "reason"), "{{cascade}} {{reason}}"),
            unit="reqps",
        ),
        right(
            lines(
                "Worse answers, at most",
                "The bound on answers that the last rung would have given better, for the agent where it is "
                "highest. At "
                "the `max_loss` that was asked for the rung is left out by itself; 1 below: it was.",
                (most("cascade_loss_bound", "cascade"), "{{cascade}} bound"),
                (most("cascade_withdrawn", "cascade"), "{{cascade}} left out"),
                unit="percentunit",
            ),
            "{{cascade}} left out",
            unit="short",
        ),
        right(
            stack(
                "Comparisons",
                "Cheap answers beside the last rung's, and what that costs in US dollars an hour. None: nothing "
                "is learned.",
                (rate("cascade_labels_total", "cascade", "answer"), "{{cascade}} {{answer}}"),
                (rate("cascade_shadow_usd_total", "cascade") + " * 3600", "{{cascade}} cost"),
                unit="reqps",
            ),
            "{{cascade}} cost",
            unit="currencyUSD",
        ),
    ]


def together() -> list[Json]:
    roles = 'upstream_attempts_total{role=~"first|escalation|member"}'
    return [
        stack(
            "Attempts by part",
            "`escalation`: a further rung; `member`: one of several that answer together. Each is paid for.",
            (rate(roles, "role"), "{{role}}"),
            unit="reqps",
        ),
        stack(
            "Quorums",
            "How they ended. `failed`: too few answered; give the model more members, or members that do not "
            "fail together.",
            (rate(chosen("quorum_calls_total", "route"), "route", "result"), "{{route}} {{result}}"),
            unit="reqps",
        ),
        lines(
            "Answers a quorum",
            "How many were asked for until it was clear. Near the number of members each time: the vote never "
            "ends early.",
            (
                share(chosen("quorum_answers_total", "route"), chosen("quorum_calls_total", "route"), "route"),
                "{{route}}",
            ),
            unit="short",
        ),
        right(
            stack(
                "Experiments",
                "Calls by arm, and what each arm costs in US dollars an hour. What they have shown: "
                "`headgate experiments`.",
                (rate("experiment_calls_total", "experiment", "arm", "result"), "{{experiment}} {{arm}} {{result}}"),
                (rate("experiment_usd_total", "experiment", "arm") + " * 3600", "{{experiment}} {{arm}} cost"),
                unit="reqps",
            ),
            "{{experiment}} {{arm}} cost",
            unit="currencyUSD",
        ),
        stack(
            "Debates",
            "By whether a plain vote over the first round says the same. Mostly the same: a quorum would do, for less.",
            (rate(chosen("debates_total", "route"), "route", "first_vote"), "{{route}} {{first_vote}}"),
            unit="reqps",
        ),
    ]


def board() -> Json:
    question = "Do the cheaper models do, and what does that save?"
    panels = [*now(), *course(), *evidence(), *together()]
    return dashboard("headgate-cascades", "Headgate / Cascades and quorums", question, panels, choices=("route",))
