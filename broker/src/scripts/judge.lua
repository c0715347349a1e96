-- judge: writes the verdict on a suspect: outcomes, replacements, dead letters.
--
-- KEYS  1 none, 2 suspects, 3 paused, 4 batches, 5 cancelled, 6 clock, 7.. of the ending (parts/ending.lua)
-- ARGV  1 suspect field, 2 when it became a suspect, ms, 3.. the ending
-- Returns  { 'DONE' }, { 'GONE' } if somebody else judged it (or, after a rollback, it is another of the same name), { 'MISMATCH', what }
-- Must never write unless its own HDEL removed the suspect, or write before all is checked.

local suspect = redis.call('HGET', KEYS[2], ARGV[1])
if not suspect or #suspect < 12 or u64(suspect, 1) ~= tonumber(ARGV[2]) then return { 'GONE' } end
redis.call('SCARD', KEYS[3])
redis.call('ZCARD', KEYS[4])
redis.call('HLEN', KEYS[5])
redis.call('HLEN', KEYS[6])
local ending = read_ending(7, 3)
local message = string.sub(suspect, 13 + u32(suspect, 9))
local fault = check_ending(ending, { message })
if fault then return { 'MISMATCH', fault } end

redis.call('DEL', KEYS[1])
if redis.call('HDEL', KEYS[2], ARGV[1]) ~= 1 then return { 'GONE' } end
apply_ending(ending, 'running_tasks', { batches = KEYS[4], paused = KEYS[3], cancelled = KEYS[5], clock = KEYS[6] }, now_ms())
return { 'DONE' }
