"""The operations that Redis has no command for. Each has one key, so that it runs in a cluster too.

Integers stay text: a number of Lua is a double and exact only below 2^53.
"""

COMPARE_AND_SET = """
local current = redis.call('GET', KEYS[1])
if current ~= ARGV[1] then return 0 end
if ARGV[2] == 'delete' then
  redis.call('DEL', KEYS[1])
elseif ARGV[4] == '' then
  redis.call('SET', KEYS[1], ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return 1
"""
"""ARGV: expected value, `set` or `delete`, new value, time to live in ms or ''. 1 if it was done."""

INCREMENT_WITH_TTL = """
local absent = redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], ARGV[1])
if absent then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])
"""
"""ARGV: amount, time to live in ms. The sum as text."""

ADMIT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local oldest = tonumber(redis.call('LINDEX', KEYS[1], limit - 1) or nil)
if oldest and oldest <= now and now < oldest + window then return oldest + window - now end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, limit - 1)
redis.call('PEXPIRE', KEYS[1], window)
return 0
"""
"""ARGV: limit, window in ms. 0 when admitted, else the milliseconds to wait. The list holds the latest `limit`
moments, newest first: only the oldest of them decides."""

CLAIM = """
local current = redis.call('GET', KEYS[1])
if not current then return false end
if string.sub(current, 1, 1) == '-' then return redis.error_reply('ERR negative counter') end
redis.call('INCRBY', KEYS[1], 0)
local last = ARGV[2]
if #current > #last or (#current == #last and current > last) then return false end
redis.call('INCRBY', KEYS[1], ARGV[1])
if ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return current
"""
"""ARGV: count, last start that fits, time to live in ms or ''. The start as text, or nil. Adding 0 refuses what
is no integer; texts of integers of equal length compare as they do."""
