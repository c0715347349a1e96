-- purge: removes the exact first messages of a lane, recorded as cancelled.
--
-- KEYS  1 none, 2 lane, 3 paused, 4 batches, 5 cancelled, 6 clock, 7.. of the ending (parts/ending.lua)
-- ARGV  1 n messages, message..., then the ending
-- Returns  { 'DONE', messages removed }, { 'CHANGED' } if the lane begins otherwise, { 'MISMATCH', what }
-- Must never remove a message that its caller has not seen.

local n = tonumber(ARGV[1])
-- LRANGE from 0 to -1 would be the whole lane.
if n < 1 then return { 'DONE', 0 } end
local messages = redis.call('LRANGE', KEYS[2], 0, n - 1)
if #messages ~= n then return { 'CHANGED' } end
for i = 1, n do
  if messages[i] ~= ARGV[1 + i] then return { 'CHANGED' } end
end
redis.call('SCARD', KEYS[3])
redis.call('ZCARD', KEYS[4])
redis.call('HLEN', KEYS[5])
redis.call('HLEN', KEYS[6])
local ending = read_ending(7, 2 + n)
local fault = check_ending(ending, messages)
if fault then return { 'MISMATCH', fault } end

redis.call('DEL', KEYS[1])
redis.call('LTRIM', KEYS[2], n, -1)
apply_ending(ending, 'ready_tasks', { batches = KEYS[4], paused = KEYS[3], cancelled = KEYS[5], clock = KEYS[6] }, now_ms())
return { 'DONE', n }
