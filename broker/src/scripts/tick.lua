-- tick: the agents' heartbeat. Stores the time, so that a pause of Redis is told from the death of consumers.
--
-- KEYS  1 none, 2 clock, 3 leases, 4 suspects, 5 batches, 6 paused, 7.. eight keys of each of the caller's queues
-- ARGV  1 lease ms, 2 longest lease ms, 3 longest gap ms, 4 dead_max, 5 dead_age_ms, 6 where among the suspects to
--       look (0, then what the last tick returned), 7.. n queues, name...
-- Returns  { now ms, grace until ms, { expired consumer... }, { suspect field, value, ... }, { batch id to look at... },
--          where among the suspects to look next }
-- Must never let a lease expire because Redis, not the consumer, was away: a gap grants everybody grace.

local lease_ms, longest_ms, gap_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local last, grace = unpack(redis.call('HMGET', KEYS[2], 'last_tick_ms', 'grace_until_ms'))
local now = now_ms()
last, grace = tonumber(last), tonumber(grace) or 0
if not last or now - last > gap_ms or now < last then grace = now + math.floor(lease_ms / 2) end
-- A grace far ahead was written before the clock jumped back.
grace = math.min(grace, now + longest_ms)
local queues = read_queues(7, 7)
redis.call('SCARD', KEYS[6])
local ahead = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. int(now + longest_ms), '+inf', 'LIMIT', 0, 64)
local expired = {}
if now > grace then expired = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. int(now), 'LIMIT', 0, 64) end
local suspects, bytes = {}, 0
local cursor, found = unpack(redis.call('HSCAN', KEYS[4], ARGV[6], 'COUNT', 64))
-- Beginning elsewhere each time, so that those which nobody can judge never hide the others behind the caps.
local count = #found / 2
for i = 0, count - 1 do
  local at = (now + i) % count * 2 + 1
  local field, value = found[at], found[at + 1]
  -- What is shorter is no suspect.
  if #suspects < 128 and bytes < 1048576 and #value >= 12 and u64(value, 1) < now - 2000 then
    suspects[#suspects + 1], suspects[#suspects + 2] = field, value
    bytes = bytes + #value
  end
end
local batches = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', int(now), 'LIMIT', 0, 64)

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'last_tick_ms', int(now), 'grace_until_ms', int(grace))
redis.call('PEXPIRE', KEYS[2], 604800000)
for _, consumer in ipairs(ahead) do redis.call('ZADD', KEYS[3], int(now + lease_ms), consumer) end
for _, q in ipairs(queues) do
  if q.waiting[1] + q.waiting[2] + q.waiting[3] > 0 then ring(q, KEYS[6]) end
  trim_dead(q, now, tonumber(ARGV[4]), tonumber(ARGV[5]))
end
return { now, grace, expired, suspects, batches, cursor }
