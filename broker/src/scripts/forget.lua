-- forget: deletes results that their reader has; counters and runs stay.
--
-- KEYS  1 none, 2 batch hash, 3.. results buckets, then parts of output blobs
-- ARGV  1 number of buckets, then for each: n, field...
-- Returns  the number of runs deleted
-- Must never touch a counter of outcomes (a batch is finished by them), create a batch hash, or free the same bytes twice.

local buckets = tonumber(ARGV[1])
local a, gone, bytes = 2, 0, 0
local held = tonumber(redis.call('HGET', KEYS[2], 'result_bytes'))
for i = 3, 2 + buckets do
  redis.call('HLEN', KEYS[i])
  local n = tonumber(ARGV[a])
  for f = a + 1, a + n do bytes = bytes + redis.call('HSTRLEN', KEYS[i], ARGV[f]) end
  a = a + 1 + n
end
for i = 3 + buckets, #KEYS do bytes = bytes + redis.call('STRLEN', KEYS[i]) end

redis.call('DEL', KEYS[1])
a = 2
for i = 3, 2 + buckets do
  local n = tonumber(ARGV[a])
  if n > 0 then gone = gone + redis.call('HDEL', KEYS[i], unpack(ARGV, a + 1, a + n)) end
  a = a + 1 + n
end
for i = 3 + buckets, #KEYS do redis.call('UNLINK', KEYS[i]) end
-- Never below nothing, whatever was stored behind our back.
local freed = math.min(bytes, held or 0)
if freed > 0 then redis.call('HINCRBY', KEYS[2], 'result_bytes', int(-freed)) end
return gone
