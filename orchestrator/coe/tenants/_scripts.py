"""What Redis does in one step for all replicas. Each script is the shared half of what _limits.py does here.

Values that are no numbers count as nothing, so somebody's stray write does no more than lift a limit once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name that Redis gives it."""

    text: bytes
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text, usedforsecurity=False).hexdigest())


ENTER = Script(b"""
-- A request comes. KEYS: bucket of requests, bucket of tokens, count of requests, strong ones given.
-- ARGV: requests a minute (0: no limit), tokens a minute (0), tokens wanted, strong ones at most (-1: none),
-- window.
-- Returns: admitted, missing in each bucket before (microseconds of refill), room for a strong expert.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local minute = 60000000
local used, after = {0, 0}, {0, 0}
local amounts = {1, tonumber(ARGV[3])}
local admitted = 1
for i = 1, 2 do
  local per_minute = tonumber(ARGV[i])
  if per_minute > 0 then
    used[i] = math.max((tonumber(redis.call('GET', KEYS[i])) or 0) - now, 0)
    after[i] = used[i] + amounts[i] * minute / per_minute
    if after[i] > minute + 1 then admitted = 0 end
  end
end
if admitted == 0 then return {0, used[1], used[2], 0} end
for i = 1, 2 do
  if after[i] > 0 then
    redis.call('SET', KEYS[i], string.format('%.0f', now + after[i]), 'PX', math.ceil(after[i] / 1000) + 1)
  end
end
local most, room = tonumber(ARGV[4]), 1
if most >= 0 then
  local count = redis.call('INCR', KEYS[3])
  redis.call('EXPIRE', KEYS[3], 2592000)
  local oldest = tonumber(redis.call('LINDEX', KEYS[4], -1))
  while oldest and (oldest <= count - tonumber(ARGV[5]) or oldest > count) do
    redis.call('RPOP', KEYS[4])
    oldest = tonumber(redis.call('LINDEX', KEYS[4], -1))
  end
  if redis.call('LLEN', KEYS[4]) >= most then room = 0 end
end
return {1, used[1], used[2], room}
""")

ADMIT = Script(b"""
-- An expert is to be asked. KEYS: spending by replica, count of requests, strong ones given.
-- ARGV: replica, its spending with this reservation, the reservation, budget (-1: none), seconds to keep,
-- strong ones at most (-1), window.
-- Returns: admitted (0: no money, -1: no share), spent through others.
local others = 0
local budget = tonumber(ARGV[4])
if budget >= 0 then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if all[i] ~= ARGV[1] then others = others + (tonumber(all[i + 1]) or 0) end
  end
  local reserved = tonumber(ARGV[3])
  if reserved > 0 and others + tonumber(ARGV[2]) > budget then return {0, others} end
end
local most = tonumber(ARGV[6])
if most >= 0 then
  local count = tonumber(redis.call('GET', KEYS[2])) or 0
  local oldest = tonumber(redis.call('LINDEX', KEYS[3], -1))
  while oldest and (oldest <= count - tonumber(ARGV[7]) or oldest > count) do
    redis.call('RPOP', KEYS[3])
    oldest = tonumber(redis.call('LINDEX', KEYS[3], -1))
  end
  if redis.call('LLEN', KEYS[3]) >= most then return {-1, others} end
  redis.call('LPUSH', KEYS[3], count)
  redis.call('EXPIRE', KEYS[3], 2592000)
end
if budget >= 0 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[5])
end
return {1, others}
""")

SETTLE = Script(b"""
-- An answer is complete. KEYS: bucket of tokens, spending by replica.
-- ARGV: tokens a minute (0: no limit), tokens more than reserved (may be negative), replica, its spending
-- (-1: no budget), seconds to keep.
local per_minute, more = tonumber(ARGV[1]), tonumber(ARGV[2])
if per_minute > 0 and more ~= 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local after = math.max((tonumber(redis.call('GET', KEYS[1])) or 0) - now, 0) + more * 60000000 / per_minute
  if after > 0 then
    redis.call('SET', KEYS[1], string.format('%.0f', now + after), 'PX', math.ceil(after / 1000) + 1)
  else
    redis.call('DEL', KEYS[1])
  end
end
if tonumber(ARGV[4]) >= 0 then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
  redis.call('EXPIRE', KEYS[2], ARGV[5])
end
return {1}
""")

SCRIPTS = (ENTER, ADMIT, SETTLE)
