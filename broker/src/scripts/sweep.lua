-- sweep: looks at one batch of several: seals it if its client is gone, deletes its keys if its life is over.
--
-- KEYS  1 none, 2 batches, 3 batch hash, 4 runs, 5 cancelled, 6.. what is deleted in slices: the results buckets, then
--       the parts of the shared input, from the ARGV[4]th of them on
-- ARGV  1 batch id, 2 done channel, 3 ms after which an untouched open batch is abandoned, 4 how many of those keys are
--       deleted already
-- Returns  'KEPT', 'ABANDONED', 'SLICE' (deleted in part: call again), 'GONE', 'BAD' (unreadable: looked at again in an hour)
-- Must never block Redis on a large key (UNLINK, in slices), delete the hash before what it owns, or fail because of a
-- field: a batch that cannot be swept would stand before others for ever.

-- nil unless it is written as a whole number.
local function whole(text)
  return text and string.find(text, '^%d+$') and tonumber(text) or nil
end

-- 4 GiB in parts of 8 MiB.
local PARTS_MAX = 512
local id, channel, abandoned_ms, from = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local batches_key, batch_key, runs_key, cancelled_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local state, tasks, touched, last_expiry, ttl, finished, single, total, swept, parts = unpack(redis.call('HMGET', batch_key,
  'state', 'tasks', 'touched_at_ms', 'last_expiry_ms', 'result_ttl_ms', 'finished_at_ms', 'single', 'total', 'swept',
  'shared_parts'))
local now = now_ms()
redis.call('ZCARD', batches_key)
redis.call('HLEN', cancelled_key)

local function bad()
  redis.call('DEL', KEYS[1])
  look_at(batches_key, id, now + 3600000)
  return 'BAD'
end

if not state then
  -- Without a state, but there: not for us to delete.
  if redis.call('HLEN', batch_key) > 0 then return bad() end
  redis.call('DEL', KEYS[1])
  redis.call('HDEL', cancelled_key, id)
  redis.call('UNLINK', runs_key)
  redis.call('ZREM', batches_key, id)
  return 'GONE'
end
if single == '1' then
  -- Listed only for its cancel mark, which must outlive the hash by little.
  redis.call('DEL', KEYS[1])
  look_at(batches_key, id, now + math.max(redis.call('PTTL', batch_key), 0) + 1000)
  return 'KEPT'
end

local sealed, ended = state ~= 'open' or total, finished
tasks, touched, last_expiry, ttl = whole(tasks), whole(touched), whole(last_expiry), whole(ttl)
total, finished, swept, parts = whole(total), whole(finished), whole(swept or '0'), whole(parts or '0')
if not (tasks and touched and last_expiry and ttl and swept and parts and parts <= PARTS_MAX) or sealed and not total or ended and not finished then
  return bad()
end

local life_ends = math.max(touched, last_expiry) + ttl
if finished and outcomes_of(batch_key) >= (total or 0) then life_ends = math.max(finished, touched) + ttl end
if now >= life_ends then
  if from ~= swept then return 'SLICE' end
  local slices = math.ceil(tasks / 8192) + parts
  redis.call('DEL', KEYS[1])
  for i = 6, #KEYS do redis.call('UNLINK', KEYS[i]) end
  swept = swept + #KEYS - 5
  if swept < slices then
    redis.call('HSET', batch_key, 'swept', int(swept))
    return 'SLICE'
  end
  redis.call('HDEL', cancelled_key, id)
  redis.call('UNLINK', runs_key)
  redis.call('DEL', batch_key)
  redis.call('ZREM', batches_key, id)
  -- Whoever still waits for it looks, and learns that it is gone.
  redis.call('PUBLISH', channel, 's')
  return 'GONE'
end

redis.call('DEL', KEYS[1])
if state == 'open' and now >= touched + abandoned_ms then
  redis.call('HSET', batch_key, 'state', 'sealed', 'total', int(tasks), 'abandoned', '1')
  look_at(batches_key, id, life_ends)
  finish(batch_key, batches_key, id, channel, now)
  return 'ABANDONED'
end
look_at(batches_key, id, state == 'open' and math.min(touched + abandoned_ms, life_ends) or life_ends)
return 'KEPT'
