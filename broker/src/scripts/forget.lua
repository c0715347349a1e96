-- forget: deletes results that their reader has; counters and runs stay.
--
-- KEYS  1 none, 2.. results buckets
-- ARGV  for each bucket: n, field...
-- Returns  the number of runs deleted
-- Must never touch a counter: a batch is finished by its counters.

local a, gone = 1, 0
for i = 2, #KEYS do redis.call('HLEN', KEYS[i]) end
redis.call('DEL', KEYS[1])
for i = 2, #KEYS do
  local n = tonumber(ARGV[a])
  if n > 0 then gone = gone + redis.call('HDEL', KEYS[i], unpack(ARGV, a + 1, a + n)) end
  a = a + 1 + n
end
return gone
