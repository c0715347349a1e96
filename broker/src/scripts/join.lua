-- join: gives a new consumer its lease.
--
-- KEYS  1 none, 2 leases, 3 consumer hash, 4 inflight
-- ARGV  1 consumer, 2 worker, 3 lease ms
-- Returns  'DONE', or 'USED' if this id already worked
-- Must never revive an id that has made a call: ids are not reused.

if redis.call('EXISTS', KEYS[3]) == 1 then
  local op = redis.call('HGET', KEYS[3], 'op')
  if op ~= '0' or not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 'USED' end
end
if redis.call('LLEN', KEYS[4]) > 0 then return 'USED' end
local now = now_ms()
redis.call('DEL', KEYS[1])
redis.call('ZADD', KEYS[2], int(now + tonumber(ARGV[3])), ARGV[1])
redis.call('HSET', KEYS[3], 'op', '0', 'settled', '0', 'worker', ARGV[2], 'joined_at_ms', int(now))
return 'DONE'
