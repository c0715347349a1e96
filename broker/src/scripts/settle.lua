-- settle: takes the k messages that are done off the head of the in-flight list, records how they ended, and
-- claims the next ones in the same call.
--
-- KEYS  1 none, 2 leases, 3 paused, 4 cancelled, 5 consumer hash, 6 inflight, 7 batches, 8 clock, 9.. of the ending
--       (parts/ending.lua), then parked lists to claim from
-- ARGV  1 consumer, 2 op, 3 lease ms, 4 k, 5.. the ending, then the sources (parts/take.lua)
-- Returns  as claim does; { 'MISMATCH', what } if the ending does not cover the k messages: nothing was written
-- Must never record an outcome for a consumer without a lease, write before all is checked, record a message in
-- part, or create the hash of a batch that is gone.

local consumer, op, k_done = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local verdict, settled = fence(KEYS[2], KEYS[5], consumer, op)
if verdict == 'LOST' then return { 'LOST' } end
if verdict == 'REPLAY' then return replay(settled, KEYS[6], KEYS[4]) end
local ending, k, a = read_ending(9, 5)
local sources = read_sources(ending.queues, k, a)
local held, paused = redis.call('LLEN', KEYS[6]), redis.call('SMEMBERS', KEYS[3])
redis.call('HLEN', KEYS[4])
redis.call('ZCARD', KEYS[7])
redis.call('HLEN', KEYS[8])
if k_done > held then return { 'MISMATCH', 'more messages than are in flight' } end
local done = {}
if k_done > 0 then done = redis.call('LRANGE', KEYS[6], 0, k_done - 1) end
local fault = check_ending(ending, done)
if fault then return { 'MISMATCH', fault } end

local now = now_ms()
redis.call('DEL', KEYS[1])
if k_done > 0 then redis.call('LTRIM', KEYS[6], k_done, -1) end
keep_lease(KEYS[2], KEYS[5], consumer, op, settled + k_done, now, tonumber(ARGV[3]))
apply_ending(ending, 'running_tasks', { batches = KEYS[7], paused = KEYS[3], cancelled = KEYS[4], clock = KEYS[8] }, now)
local taken = take(sources, KEYS[6], held - k_done, KEYS[3], paused, now)
return answer('DONE', settled + k_done, settled + held, taken, now, KEYS[4], redis.call('HLEN', KEYS[4]) > 0)
