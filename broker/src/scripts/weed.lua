-- weed: takes a message from where it must not stand: a second copy of its tasks, or what is no message.
--
-- KEYS  1 none, 2 the list or sorted set, 3-10 the queue
-- ARGV  1 and 2: '1' and the queue, 3 the message, 4 'list' or 'zset', 5 the counter that counts what stands there
-- Returns  'DONE', 'GONE' if it does not stand there (any more), 'LARGE' if the list is too long to search in one step
-- Must never take more than one copy, or search so long that Redis keeps others waiting.

local q = read_queues(3, 1)[1]
local place, message, SEARCH_MAX = KEYS[2], ARGV[3], 100000
local from_set = ARGV[4] == 'zset'
if from_set then
  if not redis.call('ZSCORE', place, message) then return 'GONE' end
else
  if redis.call('LLEN', place) > SEARCH_MAX then return 'LARGE' end
  if not redis.call('LPOS', place, message) then return 'GONE' end
end

redis.call('DEL', KEYS[1])
if from_set then redis.call('ZREM', place, message) else redis.call('LREM', place, 1, message) end
local queue, _, count = header(message)
if queue == q.name then
  count_tasks(q, ARGV[5], -count)
else
  -- It was never counted here.
  bury_unreadable(q, message, now_ms())
end
return 'DONE'
