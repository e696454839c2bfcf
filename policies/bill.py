"""A provider's export, read leniently: CSV with a header, or one JSON object a line, columns under their usual names.

Times are ISO 8601 (without an offset: UTC) or seconds or milliseconds since 1970; a line without a request id speaks of
the day it names, or of the hour when the file's times are finer than days. Amounts are decimal text in USD, rounded to
the nano-dollar once. What cannot be understood is told with its line, never guessed. Matching is `policies.reconcile`.
"""

from __future__ import annotations

import csv
import re
from calendar import monthrange, timegm
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Final

from msgspec import DecodeError, Struct, json
from msgspec.structs import replace

from policies.reconcile import DAY_S, HOUR_S, BillRow

PROBLEMS_MAX: Final = 20
USD_MAX: Final = 10**9
EPOCH_MS_LEAST: Final = 10**11  # as seconds, that is the year 5138

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "request": ("request_id", "x_request_id", "upstream_request_id", "generation_id", "completion_id", "id"),
    "time": (
        *("time", "timestamp", "datetime", "date", "at", "created_at", "created", "start_time", "started_at"),
        *("usage_date", "bucket_start_time", "usage_start_time", "hour", "day"),
    ),
    "model": ("model", "model_name", "model_id", "upstream_model", "model_permaslug", "snapshot_id"),
    "cost": (
        *("cost_usd", "cost", "total_cost", "total_cost_usd", "amount_usd", "amount", "amount_value", "usd"),
        *("spend_usd", "spend", "price_usd", "charge"),
    ),
    "provider": ("provider", "provider_name", "vendor"),
    "currency": ("currency", "amount_currency"),
}
INSTANT: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?(?: ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?)?"
)
SNAPSHOT: Final = re.compile(r"[-@](?:[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})$")
AMOUNT: Final = re.compile(r"-?\$?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?|-?\$?\.[0-9]+")
NANOS: Final = Decimal(10**9)


class Bill(Struct, frozen=True):
    """`problems`: why it must not be used, each with its line."""

    rows: tuple[BillRow, ...] = ()
    problems: tuple[str, ...] = ()
    names_models: bool = False
    names_providers: bool = False


Line = tuple[int, Mapping[str, str]]  # its number, and its cells by the plain names of their columns


def read(lines: Iterable[str]) -> Bill:
    """Of a line that names no provider, or no model, that is "" in the row."""
    given = iter(lines)
    skipped = 0
    for first in given:
        if first.strip().lstrip("\ufeff"):
            break
        skipped += 1
    else:
        return Bill(problems=("the bill is empty",))
    first = first.lstrip("\ufeff")
    if first.lstrip().startswith("["):
        return Bill(problems=("this is a JSON array: write one object a line",))
    every = chain([first], given)
    table = _objects(every, skipped) if first.lstrip().startswith("{") else _table(every, skipped)
    return _bill(table)


def plain_model(name: str) -> str:
    """Without the date of a snapshot: bills and gates name the same model with and without it."""
    return SNAPSHOT.sub("", name.strip().lower())


# --- lines -----------------------------------------------------------------------------------------------------------


def _table(lines: Iterable[str], skipped: int) -> Iterator[Line | str]:
    reader = csv.reader(lines, skipinitialspace=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if header is None:
                header = [_plain(name) for name in cells]
                missing = _missing(header)
                if missing is not None:
                    yield f"line {skipped + reader.line_num}: {missing}"
                    return
            elif any(cell.strip() for cell in cells):
                number = skipped + reader.line_num
                if len(cells) > len(header):
                    yield f"line {number}: it has {len(cells)} cells, the header has {len(header)}"
                else:
                    yield number, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        yield f"line {skipped + reader.line_num}: {error}"


def _objects(lines: Iterable[str], skipped: int) -> Iterator[Line | str]:
    decoder = json.Decoder(dict[str, object], float_hook=Decimal)
    for number, line in enumerate(lines, skipped + 1):
        if not line.strip():
            continue
        try:
            yield number, dict(_cells(decoder.decode(line)))
        except DecodeError as error:
            yield f"line {number}: it is no JSON object ({error})"


def _cells(found: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`{"amount": {"value": 1}}` is the column `amount_value`."""
    for name, value in found.items():
        plain = prefix + _plain(name)
        if isinstance(value, dict) and not prefix:
            yield from _cells(value, f"{plain}_")
        elif isinstance(value, str | int | Decimal) and not isinstance(value, bool):
            yield plain, str(value)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


# --- rows ------------------------------------------------------------------------------------------------------------


def _bill(table: Iterable[Line | str]) -> Bill:
    rows: list[BillRow] = []
    problems: list[str] = []
    for line in table:
        row = line if isinstance(line, str) else _row(*line)
        if isinstance(row, BillRow):
            rows.append(row)
        else:
            problems.append(row)
            if len(problems) > PROBLEMS_MAX:
                return Bill(problems=(*problems[:PROBLEMS_MAX], "... and more"))
    if problems or not rows:
        return Bill(problems=tuple(problems) or ("the bill has no lines",))
    return Bill(
        tuple(_spanned(rows)),
        names_models=any(row.model for row in rows),
        names_providers=any(row.provider for row in rows),
    )


def _row(number: int, cells: Mapping[str, str]) -> BillRow | str:
    cost, at = _first(cells, "cost"), _first(cells, "time")
    if cost is None:
        return f"line {number}: {_missing_one('cost')}"
    if at is None:
        return f"line {number}: {_missing_one('time')}"
    usd_nanos, at_wall = _usd_nanos(cost), _wall(at)
    if usd_nanos is None:
        return f"line {number}: {cost!r} is no amount in USD"
    if at_wall is None:
        return f"line {number}: {at!r} is no time"
    currency = _first(cells, "currency")
    if currency is not None and currency.lower() != "usd":
        return f"line {number}: it is in {currency!r}; only USD can be compared"
    return BillRow(
        provider=_first(cells, "provider") or "",
        model=plain_model(_first(cells, "model") or ""),
        at_wall=at_wall,
        usd_nanos=usd_nanos,
        request_id=_first(cells, "request"),
    )


def _missing(header: Iterable[str]) -> str | None:
    """A bill of tokens alone is none: they are not priced here."""
    return next((_missing_one(kind) for kind in ("cost", "time") if not {*header} & {*COLUMNS[kind]}), None)


def _missing_one(kind: str) -> str:
    return f"no column holds the {kind}; it may be called {', '.join(COLUMNS[kind])}"


def _first(cells: Mapping[str, str], kind: str) -> str | None:
    """Of the names a column may have, the first that holds something."""
    texts = (cells.get(name, "").strip() for name in COLUMNS[kind])
    return next((text for text in texts if text), None)


def _usd_nanos(text: str) -> int | None:
    if AMOUNT.fullmatch(text) is None:
        return None
    try:
        usd = Decimal(text.replace("$", "").replace(",", ""))
    except InvalidOperation:
        return None
    return round(usd * NANOS) if abs(usd) <= USD_MAX else None


def _wall(text: str) -> float | None:
    if text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) < 20:
        number = float(text)
        return number / 1_000 if number >= EPOCH_MS_LEAST else number
    found = INSTANT.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(part) for part in found.groups()[:3])
    hour, minute, second = (int(part or 0) for part in found.groups()[3:6])
    if not (1970 <= year <= 9998 and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]):
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    return float(timegm((year, month, day, hour, minute, second)) - _ahead_s(found[7]))


def _ahead_s(zone: str | None) -> int:
    if zone is None or zone[0] not in "+-":
        return 0
    seconds = int(zone[1:3]) * 3_600 + int(zone[-2:]) * 60
    return seconds if zone[0] == "+" else -seconds


def _spanned(rows: list[BillRow]) -> Iterator[BillRow]:
    """Lines without an id are of one kind in a file: of days, or of hours."""
    daily = all(row.at_wall % DAY_S == 0 for row in rows if row.request_id is None)
    for row in rows:
        yield row if daily else replace(row, span_s=HOUR_S)
