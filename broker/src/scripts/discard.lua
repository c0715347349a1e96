-- discard: drops dead letters for good.
--
-- KEYS  1 none, 2-9 the queue
-- ARGV  1 and 2: '1' and the queue, 3.. id and time of burial, ms, of each letter, at most 1000 letters
-- Returns  how many were dropped
-- Must never drop a letter that its caller has not seen: one that was revived and buried again has another time.

local q = read_queues(2, 1)[1]
local gone = {}
for i = 3, #ARGV, 2 do
  local at = redis.call('ZSCORE', q.dead, ARGV[i])
  if at and tonumber(at) == tonumber(ARGV[i + 1]) then gone[#gone + 1] = ARGV[i] end
end

redis.call('DEL', KEYS[1])
call_in_slices('ZREM', q.dead, gone)
call_in_slices('HDEL', q.records, gone)
count_tasks(q, 'dead_tasks', -#gone)
return #gone
