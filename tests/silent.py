"""A gate that counts, logs and shows nothing: what telemetry costs is the difference to one that does.

For the benchmark alone, which starts it as `python -m tests.silent serve --config FILE`. Metrics, log lines, the live
feed and traces are told of calls and do nothing; all else, the ledger too, is the gate as it is.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from unittest.mock import patch

from proxy.cli.main import main
from proxy.telemetry.budget_metrics import BudgetMetrics
from proxy.telemetry.live import Live
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.tracing import Tracing

TOLD = (
    (Metrics, "started"),
    (Metrics, "attempt_started"),
    (Metrics, "attempt_ended"),
    (Metrics, "observe"),
    (Metrics, "loop_lag"),
    (BudgetMetrics, "observe"),
    (RequestLog, "observe"),
    (Live, "fold"),
    (Tracing, "observe"),
)


def nothing(*_: object) -> None:
    """Whatever it is told."""


if __name__ == "__main__":
    with ExitStack() as silenced:
        for owner, name in TOLD:
            silenced.enter_context(patch.object(owner, name, nothing))
        sys.exit(main())
