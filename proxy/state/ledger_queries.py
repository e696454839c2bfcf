"""The questions people ask of the ledger, as SQL: spend, agents, runs, requests, one run, one request.

Each public function reads on the writer's connection and ends all its cursors; names of columns come from the tables
below, never from a caller. `LedgerReports` puts the same questions to a `Ledger`. Pages are by key (`before` is a
`seq`), so that a page costs the same however far back it lies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Protocol

from msgspec import json

from proxy.errors import ProxyError
from proxy.state.ledger import Ledger
from proxy.state.ledger_rows import ATTEMPT_COLUMNS, OUTCOME_COLUMNS, TOKEN_CLASSES
