-- Part: queues. Every script that touches a queue declares the same eight keys of it, in this order:
-- queue hash, doorbell, ready high, ready normal, ready low, scheduled, dead, dead records.

local GROUP_KEYS = 8

-- Reads `n, name...` from ARGV[a], with the groups' keys from KEYS[k]. Reading each key by its own type
-- makes a key of the wrong type an error now, before anything is written. Most queues use three of their keys.
local function read_queues(k, a)
  local queues = { by_name = {} }
  for i = 1, tonumber(ARGV[a]) do
    local q = { name = ARGV[a + i], hash = KEYS[k], bell = KEYS[k + 1], lanes = { KEYS[k + 2], KEYS[k + 3], KEYS[k + 4] },
      scheduled = KEYS[k + 5], dead = KEYS[k + 6], records = KEYS[k + 7] }
    redis.call('HLEN', q.hash)
    q.rings = redis.call('LLEN', q.bell) > 0
    q.waiting = { 0, redis.call('LLEN', q.lanes[2]), 0 }
    q.later = 0
    if redis.call('EXISTS', q.lanes[1], q.lanes[3], q.scheduled, q.dead, q.records) > 0 then
      q.waiting[1], q.waiting[3] = redis.call('LLEN', q.lanes[1]), redis.call('LLEN', q.lanes[3])
      q.later = redis.call('ZCARD', q.scheduled)
      redis.call('ZCARD', q.dead)
      redis.call('HLEN', q.records)
    end
    queues[i] = q
    queues.by_name[q.name] = q
    k = k + GROUP_KEYS
  end
  return queues, k, a + 1 + tonumber(ARGV[a])
end

-- Adds to a counter of a queue, in tasks.
local function count_tasks(q, field, n)
  if n ~= 0 then redis.call('HINCRBY', q.hash, field, int(n)) end
end

-- Wakes one idle consumer. Never for a paused queue: its consumers would be woken for ever.
local function ring(q, paused_key)
  if not q.rings and redis.call('SISMEMBER', paused_key, q.name) == 0 then
    redis.call('RPUSH', q.bell, '1')
    redis.call('PEXPIRE', q.bell, 10000)
    q.rings = true
  end
end

-- Puts messages (in order) back to the front of their lanes; returns the number of tasks.
local function to_front(queues, messages)
  local tasks = 0
  for i = #messages, 1, -1 do
    local queue, lane, count = header(messages[i])
    local q = queues.by_name[queue]
    redis.call('LPUSH', q.lanes[lane], messages[i])
    q.waiting[lane] = q.waiting[lane] + 1
    count_tasks(q, 'ready_tasks', count)
    q.pushed = true
    tasks = tasks + count
  end
  return tasks
end

local function ring_pushed(queues, paused_key)
  for _, q in ipairs(queues) do
    if q.pushed then ring(q, paused_key) end
  end
end

-- Keeps a dead letter: `record` is what stands behind the time.
local function bury(q, id, record, now)
  if redis.call('ZADD', q.dead, int(now), id) == 1 then
    count_tasks(q, 'dead_tasks', 1)
  end
  redis.call('HSET', q.records, id, be64(now) .. record)
end

-- MessagePack of { reason: "unreadable", kernel: "" }
local UNREADABLE = '\130\166reason\170unreadable\166kernel\160'

-- Keeps what a foreign hand put where messages belong.
local function bury_unreadable(q, m, now)
  bury(q, 'unreadable.' .. redis.sha1hex(m), be32(#UNREADABLE) .. UNREADABLE .. m, now)
end

-- Drops dead letters above the caps, at most 100 a call: oldest first.
local function trim_dead(q, now, max, age_ms)
  local over = math.min(redis.call('ZCARD', q.dead) - max, 100)
  local gone = {}
  if over > 0 then gone = redis.call('ZRANGE', q.dead, 0, over - 1) end
  if #gone == 0 then gone = redis.call('ZRANGEBYSCORE', q.dead, '-inf', int(now - age_ms), 'LIMIT', 0, 100) end
  if #gone > 0 then
    redis.call('ZREM', q.dead, unpack(gone))
    redis.call('HDEL', q.records, unpack(gone))
    count_tasks(q, 'dead_tasks', -#gone)
  end
end

