-- renew: extends a lease.
--
-- KEYS  1 none, 2 leases, 3 clock
-- ARGV  1 consumer, 2 lease ms
-- Returns  { 'DONE', cancel epoch } or { 'LOST' }; the epoch changes with every cancel
-- Must never bring back a lease that was reclaimed.

if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return { 'LOST' } end
local epoch = tonumber(redis.call('HGET', KEYS[3], 'cancel_epoch') or 0)
redis.call('DEL', KEYS[1])
redis.call('ZADD', KEYS[2], int(now_ms() + tonumber(ARGV[2])), ARGV[1])
return { 'DONE', epoch }
