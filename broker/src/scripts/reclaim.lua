-- reclaim: takes everything from a consumer that is dead, by the cause of its death, in one step.
--
-- KEYS  1 none, 2 leases, 3 paused, 4 consumer hash, 5 inflight, 6 suspects, 7 clock, 8.. eight keys of each queue
-- ARGV  1 consumer, 2 cause: died | idle | ordered | expired, 3 position that ran (died), 4 certificate,
--       5 longest age of the last tick, ms (expired), 6.. n queues, name...
-- Returns  { 'DONE', tasks returned, suspect field... }, { 'GONE' } if there is no lease (any more),
--          { 'NOT_EXPIRED' }, { 'NEED_KEYS', queue... }, { 'MISMATCH', what } if something unreadable is in the list, and
--          no queue is given to bury it in
-- Must never take from a consumer whose lease is valid on the word of anybody but its own supervisor; must
-- never leave a message in a list that nothing names: messages, lease and hash go in the same call. What is
-- unreadable is buried in the first queue: one bad value must not keep the rest from coming back.

local consumer, cause, position = ARGV[1], ARGV[2], tonumber(ARGV[3])
local deadline = redis.call('ZSCORE', KEYS[2], consumer)
if not deadline then return { 'GONE' } end
local now = now_ms()
if cause == 'expired' then
  local tick, grace = unpack(redis.call('HMGET', KEYS[7], 'last_tick_ms', 'grace_until_ms'))
  tick, grace = tonumber(tick), tonumber(grace) or 0
  local fresh = tick and now - tick <= tonumber(ARGV[5]) and now >= tick
  if tonumber(deadline) >= now or not fresh or now <= grace then return { 'NOT_EXPIRED' } end
end
local queues = read_queues(8, 6)
redis.call('HLEN', KEYS[6])
redis.call('SCARD', KEYS[3])
local settled = tonumber(redis.call('HGET', KEYS[4], 'settled') or 0)
local missing = { 'NEED_KEYS' }
local back, suspects, unreadable = {}, {}, {}
for i, m in ipairs(redis.call('LRANGE', KEYS[5], 0, -1)) do
  local queue = header(m)
  local at = settled + i - 1
  if queue and not queues.by_name[queue] then missing[#missing + 1] = queue end
  if not queue then
    unreadable[#unreadable + 1] = m
  elseif cause == 'expired' or (cause == 'died' and at == position) then
    suspects[#suspects + 1] = consumer .. ':' .. int(at)
    suspects[#suspects + 1] = be64(now) .. be32(#ARGV[4]) .. ARGV[4] .. m
  else
    back[#back + 1] = m
  end
end
if #missing > 1 then return missing end
if #unreadable > 0 and not queues[1] then return { 'MISMATCH', 'something unreadable is in flight, and no queue to bury it in' } end

redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], consumer)
redis.call('DEL', KEYS[4], KEYS[5])
call_in_slices('HSET', KEYS[6], suspects)
for _, m in ipairs(unreadable) do bury_unreadable(queues[1], m, now) end
for _, m in ipairs(back) do
  local queue, _, count = header(m)
  count_tasks(queues.by_name[queue], 'running_tasks', -count)
end
local reply = { 'DONE', to_front(queues, back) }
ring_pushed(queues, KEYS[3])
for i = 1, #suspects, 2 do reply[#reply + 1] = suspects[i] end
return reply
