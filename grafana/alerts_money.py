"""Alerts on money: budgets that run out, spend that is not as usual, bills in doubt, and the books themselves."""

from __future__ import annotations

from grafana.rule import Alert

HERE = "job, instance"
SPENT, LIMIT = "headgate_budget_spent_usd", "headgate_budget_limit_usd"
RESETS = "headgate_budget_resets_timestamp_seconds"


def hourly(metric: str, by: str = HERE) -> str:
    return f"sum by ({by}) (increase(headgate_{metric}[1h]))"


BUDGETS = (
    Alert(
        "HeadgateBudgetForecast",
        f"predict_linear({SPENT}[1h], 21600) > {LIMIT} and deriv({SPENT}[1h]) > 0 and {SPENT} < {LIMIT} "
        f"and ({RESETS} - time() > 21600 or {RESETS} == 0)",
        "10m",
        "ticket",
        "{{ $labels.budget }} will have spent its {{ $labels.window }} within six hours.",
        "At the pace of the last hour the limit is reached long before it resets; then its calls become cheaper, "
        "shorter, "
        "and are refused.",
        "more work than planned, a loop, longer prompts, a dearer model.",
        "`headgate spend` and `headgate runs` show on what. Top it up with `headgate budgets topup`, or let the "
        "ladder do "
        "its work.",
    ),
    Alert(
        "HeadgateBudgetNearlySpent",
        f"({SPENT} + headgate_budget_held_usd) / ({LIMIT} > 0) > 0.9",
        "1m",
        "ticket",
        "{{ $labels.budget }} has less than a tenth of its {{ $labels.window }} left.",
        "Calls of its agents are already made cheaper and shorter, and will be refused when it is spent.",
        "the work was more than the budget, or a run calls itself.",
        "`headgate budgets` says when it resets and who spends; top it up, or stop the run that spends most.",
    ),
    Alert(
        "HeadgateBudgetOverrun",
        f"{hourly('budget_overrun_usd_total')} > 0.0001 * {hourly('spend_usd_total')}",
        "0s",
        "ticket",
        "Calls have cost more than was held for them and all that was left.",
        "A limit was exceeded by more than a hundredth of a percent of spend; its account is blocked until the reset.",
        "an upstream that ignores the output limit, a price that is out of date, thinking that it does not count.",
        "`headgate requests` with the account shows the call; state `reasoning_tokens_max` for that model, or "
        "`hold: strict` for the limit.",
    ),
    Alert(
        "HeadgateSpendAnomaly",
        "sum by (job) (rate(headgate_spend_usd_total[15m])) "
        "> 4 * sum by (job) (rate(headgate_spend_usd_total[1d] offset 15m)) "
        "and sum by (job) (rate(headgate_spend_usd_total[15m])) * 3600 > 1",
        "10m",
        "ticket",
        "Spend is more than four times that of the day before, and above a dollar an hour.",
        "Something costs more than it did for a day.",
        "a new agent, a loop, a model that was changed, prompt caches that no longer work.",
        "Agents by spend on the dashboard Agents names who; `headgate runs` names the run. A budget for it ends the "
        "question for good.",
    ),
)

BILLS = (
    Alert(
        "HeadgateUsageClamped",
        f"{hourly('usage_clamped_total')} > 0.001 * {hourly('upstream_attempts_total')}",
        "0s",
        "ticket",
        "Upstreams report usage that is beyond belief.",
        "More than one attempt in a thousand reported more tokens than its request and reply can have had; it was cut.",
        "an engine with a defect in its usage, or a field that means something else there.",
        "`headgate explain` of such a call shows what was reported. Compare with the provider's own page; report "
        "it there.",
    ),
    Alert(
        "HeadgateGpuOvercharged",
        f"{hourly('gpu_charged_usd_total', 'job, instance, provider')} "
        f"> 1.01 * {hourly('gpu_elapsed_usd_total', 'job, instance, provider')}",
        "0s",
        "ticket",
        "Calls were charged for more time of {{ $labels.provider }} than has passed.",
        "Shares of an engine's time must add up to the time.",
        "a defect of the gate, or a clock that was set back.",
        "Keep the ledger of that hour (`headgate ledger export`) and report it.",
    ),
    Alert(
        "HeadgateUnpriced",
        f"{hourly('unpriced_requests_total', 'job, instance, provider')} > 0",
        "0s",
        "ticket",
        "{{ $labels.provider }} billed calls that no price is known for.",
        "They are allowed (`pricing.unknown: allow`), but no budget in money sees them.",
        "a new model, a wildcard route, a name that the price book does not know.",
        "Name its price under `pricing.overrides`, or set `pricing.unknown: refuse`.",
    ),
    Alert(
        "HeadgatePricesOld",
        "max by (job, instance) (time() - headgate_prices_timestamp_seconds) > 45 * 86400",
        "1h",
        "ticket",
        "The price book is more than 45 days old.",
        "Vendors change prices; budgets would be kept with yesterday's.",
        "a release of the gate that has not been followed.",
        "Upgrade, or give a newer table with `pricing.table`.",
    ),
)

LEDGER = (
    Alert(
        "HeadgateLedgerLag",
        "max by (job, instance) (headgate_ledger_lag_seconds) > 30",
        "2m",
        "page",
        "Calls have waited for more than 30 seconds to be written into the ledger.",
        "They are in memory alone: a power cut would lose them, and under `ledger.strict` replies wait for them.",
        "a disk that hangs or is full, another process that holds the file.",
        "Free the disk, look for who uses it. The gate goes on by itself as soon as it can write.",
    ),
    Alert(
        "HeadgateLedgerFailed",
        'sum by (job, instance) (increase(headgate_ledger_writes_total{result="failed"}[5m])) > 0',
        "0s",
        "page",
        "The ledger could not be written.",
        "Rows were given up, or wait in memory; what they cost is counted against budgets all the same.",
        "a full disk, a file system that turned read-only, a damaged file.",
        "The log event says what SQLite said. After mending it, `headgate ledger verify` tells whether anything is "
        "missing.",
    ),
    Alert(
        "HeadgateLedgerDrift",
        "max by (job, instance) (abs(headgate_ledger_drift_usd)) > 0.01",
        "15m",
        "ticket",
        "Metrics and ledger differ by more than a cent.",
        "Both are fed from the same record of a call, so they should agree once its row is written.",
        "rows that could not be written, a worker that died before it told, a defect.",
        "Look at the ledger's lag and failures first. If both are well, the ledger is right: report it.",
    ),
)

MONEY = (*BUDGETS, *BILLS, *LEDGER)
