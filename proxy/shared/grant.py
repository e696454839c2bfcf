"""The arithmetic of a rate limit's bucket in the store: one script, which grants all that a call asks for, or nothing.

A bucket is kept as in `policies.rate_limit`, as the instant at which it will be full, in microseconds of the store's
own clock, with the last instant at which it was: what is given back of an estimate counts only where the bucket has not
been full since. A bucket that is not there is full, but in a store that was emptied while gates were at work: there it
began empty at that moment, as nobody knows what had been taken; so does one in whose place something else is found.
What is owed is debited whatever is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final

from policies.rate_limit import SPAN_S
from policies.shared_rate import Ask, Told

MICROSECONDS: Final = 1_000_000

SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local span = tonumber(ARGV[2])
local born = tonumber(redis.pcall('GET', KEYS[1]))
if not born then
  born = ARGV[1] == '1' and now or 0
  redis.call('SET', KEYS[1], string.format('%.0f', born))
end

local buckets, granted = {}, 1
for i = 2, #KEYS do
  local at = 3 + (i - 2) * 7
  local b = {
    interval = tonumber(ARGV[at]), room = tonumber(ARGV[at + 1]),
    need = tonumber(ARGV[at + 2]), extra = tonumber(ARGV[at + 3]), debit = tonumber(ARGV[at + 4]),
    full_at = born + span, was_full_at = born
  }
  local back, since = tonumber(ARGV[at + 5]), now - tonumber(ARGV[at + 6])
  local kept = redis.pcall('GET', KEYS[i])
  if kept then
    local full_at, was_full_at = string.match(type(kept) == 'string' and kept or '', '^(%d+) (%d+)$')
    b.full_at, b.was_full_at = tonumber(full_at) or now + span, tonumber(was_full_at) or now
  end
  if b.full_at <= now then
    b.full_at, b.was_full_at = now, now
  end
  if b.was_full_at > since then back = 0 end
  b.full_at = math.max(now, b.full_at + (b.debit - back) * b.interval)
  b.wait = b.full_at - now + (math.min(b.need, b.room) - b.room) * b.interval
  if b.need > 0 and b.wait > 1 then granted = 0 end
  buckets[i] = b
end

local told = {}
for i = 2, #KEYS do
  local b = buckets[i]
  local level, got = b.room - (b.full_at - now) / b.interval, 0
  if granted == 1 then
    got = b.need + math.max(0, math.min(b.extra, math.floor(level - b.need)))
  end
  b.full_at = math.floor(b.full_at + got * b.interval + 0.5)
  local until_us = math.max(b.full_at, born + span)
  if until_us > now then
    local kept = string.format('%.0f %.0f', b.full_at, b.was_full_at)
    redis.call('SET', KEYS[i], kept, 'PX', string.format('%.0f', math.ceil((until_us - now) / 1000) + 1000))
  else
    redis.call('DEL', KEYS[i])
  end
  told[#told + 1] = got
  told[#told + 1] = math.floor(level - got)
  told[#told + 1] = b.need > 0 and math.max(0, math.ceil(b.wait)) or 0
end
return told
"""


def keys(prefix: str, asks: Sequence[Ask]) -> list[str]:
    return [f"{prefix}:rate:born", *[f"{prefix}:rate:{ask.name}" for ask in asks]]


def arguments(asks: Sequence[Ask], *, known: bool, late_s: float) -> list[str]:
    """`known`: the store has answered this process before. `late_s`: it may take so long until it reads this."""
    words = ["1" if known else "0", str(_us(SPAN_S))]
    for ask in asks:
        words += [repr(ask.interval_s * MICROSECONDS), *map(str, (ask.room, ask.need, ask.extra, ask.debit, ask.back))]
        words.append(str(_us(ask.back_age_s + late_s)))
    return words


def told(reply: Sequence[int]) -> list[Told]:
    threes = zip(reply[::3], reply[1::3], reply[2::3], strict=True)
    return [Told(got, level, wait_us / MICROSECONDS) for got, level, wait_us in threes]


def _us(seconds: float) -> int:
    return ceil(seconds * MICROSECONDS)
