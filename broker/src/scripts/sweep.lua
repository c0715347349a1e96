-- sweep: looks at one batch of several: seals it if its client is gone, deletes its keys if its life is over.
--
-- KEYS  1 none, 2 batches, 3 batch hash, 4 runs, 5 cancelled, 6.. results buckets from ARGV[4] on
-- ARGV  1 batch id, 2 done channel, 3 ms after which an untouched open batch is abandoned, 4 number of the first bucket
-- Returns  'KEPT', 'ABANDONED', 'SLICE' (deleted in part: call again), 'GONE'
-- Must never block Redis on a large key (UNLINK, in slices), or delete the hash before what it owns.

local id, channel, abandoned_ms, from = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local batches_key, batch_key, runs_key, cancelled_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local state, tasks, touched, last_expiry, ttl, finished, single, total, swept = unpack(redis.call('HMGET', batch_key,
  'state', 'tasks', 'touched_at_ms', 'last_expiry_ms', 'result_ttl_ms', 'finished_at_ms', 'single', 'total', 'swept'))
local now = now_ms()
redis.call('ZCARD', batches_key)
redis.call('HLEN', cancelled_key)

if not state then
  redis.call('DEL', KEYS[1])
  redis.call('HDEL', cancelled_key, id)
  redis.call('UNLINK', runs_key)
  redis.call('ZREM', batches_key, id)
  return 'GONE'
end
touched, last_expiry, ttl, swept = tonumber(touched), tonumber(last_expiry), tonumber(ttl), tonumber(swept or 0)
if single == '1' then
  -- Listed only for its cancel mark, which must outlive the hash by little.
  redis.call('DEL', KEYS[1])
  look_at(batches_key, id, now + math.max(redis.call('PTTL', batch_key), 0) + 1000)
  return 'KEPT'
end

local life_ends = math.max(touched, last_expiry) + ttl
if finished and outcomes_of(batch_key) >= tonumber(total) then life_ends = math.max(tonumber(finished), touched) + ttl end
if now >= life_ends then
  if from ~= swept then return 'SLICE' end
  local buckets = math.ceil(tonumber(tasks) / 8192)
  redis.call('DEL', KEYS[1])
  for i = 6, #KEYS do redis.call('UNLINK', KEYS[i]) end
  swept = swept + #KEYS - 5
  if swept < buckets then
    redis.call('HSET', batch_key, 'swept', int(swept))
    return 'SLICE'
  end
  redis.call('HDEL', cancelled_key, id)
  redis.call('UNLINK', runs_key)
  redis.call('DEL', batch_key)
  redis.call('ZREM', batches_key, id)
  return 'GONE'
end

redis.call('DEL', KEYS[1])
if state == 'open' and now >= touched + abandoned_ms then
  redis.call('HSET', batch_key, 'state', 'sealed', 'total', tasks, 'abandoned', '1')
  look_at(batches_key, id, life_ends)
  finish(batch_key, batches_key, id, channel, now)
  return 'ABANDONED'
end
look_at(batches_key, id, state == 'open' and math.min(touched + abandoned_ms, life_ends) or life_ends)
return 'KEPT'
