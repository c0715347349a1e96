-- manage: what an operator decides about a queue: pause, resume, depth limit.
--
-- KEYS  1 none, 2 queues, 3 paused, 4-11 the queue
-- ARGV  1 and 2: '1' and the queue, 3 'pause' | 'resume' | 'limit', 4 messages ('limit'; '': the default again), 5 '1': also if
--       nobody has used the queue yet
-- Returns  { 'DONE' }, { 'UNKNOWN' } if nobody has used the queue, { 'BAD', what }
-- Must never move or drop a message: a queue that is paused or over its limit keeps what it holds.

local q = read_queues(4, 1)[1]
local wish, limit = ARGV[3], ARGV[4]
if wish ~= 'pause' and wish ~= 'resume' and wish ~= 'limit' then return { 'BAD', 'no such wish' } end
if wish == 'limit' and limit ~= '' and not string.find(limit, '^%d+$') then return { 'BAD', 'the limit is no number' } end
local known = redis.call('SISMEMBER', KEYS[2], q.name) == 1
redis.call('SCARD', KEYS[3])
if not known and ARGV[5] ~= '1' then return { 'UNKNOWN' } end

redis.call('DEL', KEYS[1])
redis.call('SADD', KEYS[2], q.name)
if wish == 'pause' then
  redis.call('SADD', KEYS[3], q.name)
elseif wish == 'resume' then
  redis.call('SREM', KEYS[3], q.name)
  if q.waiting[1] + q.waiting[2] + q.waiting[3] > 0 then ring(q, KEYS[3]) end
elseif limit == '' then
  redis.call('HDEL', q.hash, 'depth_limit')
else
  redis.call('HSET', q.hash, 'depth_limit', limit)
end
return { 'DONE' }
