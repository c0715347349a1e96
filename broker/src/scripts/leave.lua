-- leave: gives a lease up, with nothing in flight.
--
-- KEYS  1 none, 2 leases, 3 consumer hash, 4 inflight
-- ARGV  1 consumer
-- Returns  'DONE', 'INFLIGHT' (nothing changed), or 'LOST'
-- Must never drop a lease while messages depend on it.

if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 'LOST' end
if redis.call('LLEN', KEYS[4]) > 0 then return 'INFLIGHT' end
redis.call('HLEN', KEYS[3])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
return 'DONE'
