-- Part: finishing a batch. Decided by counters only, fires once.

local KINDS = { 'succeeded', 'failed', 'timed_out', 'out_of_memory', 'cancelled', 'expired', 'crashed', 'lost' }

local function outcomes_of(batch_key)
  local sum = 0
  for _, n in ipairs(redis.call('HMGET', batch_key, unpack(KINDS))) do
    sum = sum + (tonumber(n) or 0)
  end
  return sum
end

-- When a batch of several should be looked at next.
local function look_at(batches_key, id, at_ms)
  redis.call('ZADD', batches_key, int(at_ms), id)
end

-- Finishes the batch if it is sealed and has all its outcomes.
local function finish(batch_key, batches_key, id, channel, now)
  local state, total, ttl, single = unpack(redis.call('HMGET', batch_key, 'state', 'total', 'result_ttl_ms', 'single'))
  -- More than its total: stragglers of the first life of a batch that revive brought back.
  if state ~= 'sealed' or outcomes_of(batch_key) < tonumber(total) then return false end
  redis.call('HSET', batch_key, 'state', 'finished', 'finished_at_ms', int(now))
  if single == '1' then
    redis.call('PEXPIRE', batch_key, ttl)
  else
    look_at(batches_key, id, now + tonumber(ttl))
  end
  redis.call('PUBLISH', channel, 'f')
  return true
end

-- The same for a batch of one whose only task ends for the first time: what is stored and what it means in one call.
-- The hint is that of the outcome.
local function finish_single(batch_key, ttl, outcome, kind, now)
  redis.call('HSET', batch_key, 'outcome', outcome, kind, '1', 'state', 'finished', 'finished_at_ms', int(now))
  redis.call('PEXPIRE', batch_key, ttl)
end
