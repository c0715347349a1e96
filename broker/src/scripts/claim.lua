-- claim: takes messages from the lanes into the consumer's in-flight list, strictly in order.
--
-- KEYS  1 none, 2 leases, 3 paused, 4 cancelled, 5 consumer hash, 6 inflight, 7.. eight keys of each queue, then parked lists
-- ARGV  1 consumer, 2 op, 3 lease ms, 4.. n queues, name..., then the sources (parts/take.lua)
-- Returns  { 'DONE', settled, position of the first message listed, message, flag, ... },
--          { 'REPLAY', ... } with everything unsettled if this op ran before, { 'LOST' }
-- Must never drop a message: cancelled and expired ones come flagged, and the consumer settles them unrun.

local consumer, op = ARGV[1], tonumber(ARGV[2])
local verdict, settled = fence(KEYS[2], KEYS[5], consumer, op)
if verdict == 'LOST' then return { 'LOST' } end
if verdict == 'REPLAY' then return replay(settled, KEYS[6], KEYS[4]) end
local queues, k, a = read_queues(7, 4)
local sources = read_sources(queues, k, a)
local held, paused = redis.call('LLEN', KEYS[6]), redis.call('SMEMBERS', KEYS[3])
local any_cancelled = redis.call('HLEN', KEYS[4]) > 0

local now = now_ms()
redis.call('DEL', KEYS[1])
keep_lease(KEYS[2], KEYS[5], consumer, op, settled, now, tonumber(ARGV[3]))
local taken = take(sources, KEYS[6], held, KEYS[3], paused, now)
return answer('DONE', settled, settled + held, taken, now, KEYS[4], any_cancelled)
