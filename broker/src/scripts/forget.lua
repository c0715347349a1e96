-- forget: deletes results that their reader has; counters and runs stay.
--
-- KEYS  1 none, 2 batch hash, 3.. results buckets, then parts of output blobs
-- ARGV  1 number of buckets, then for each: n, then n times field and tasks of its run (0: any number)
-- Returns  the number of runs deleted
-- Must never touch a counter of outcomes (a batch is finished by them), create a batch hash, free the same bytes twice, or
-- delete the hash of a batch of one whose task may still run.

-- A batch of one is its hash, outcome and all: that goes as a whole, once its task has ended for good.
local single, state, total = unpack(redis.call('HMGET', KEYS[2], 'single', 'state', 'total'))
if single == '1' then
  if state ~= 'finished' or outcomes_of(KEYS[2]) < tonumber(total) then return 0 end
  redis.call('DEL', KEYS[1])
  for i = 3 + tonumber(ARGV[1]), #KEYS do redis.call('UNLINK', KEYS[i]) end
  return redis.call('DEL', KEYS[2])
end

local buckets = tonumber(ARGV[1])
local a, gone, bytes, hits = 2, 0, 0, {}
local held = tonumber(redis.call('HGET', KEYS[2], 'result_bytes'))
for i = 3, 2 + buckets do
  redis.call('HLEN', KEYS[i])
  hits[i] = {}
  for f = a + 1, a + 2 * tonumber(ARGV[a]), 2 do
    local count = tonumber(ARGV[f + 1])
    -- After Redis lost its last second, another run may begin where the one began that the reader has.
    local run = count > 0 and redis.call('HGET', KEYS[i], ARGV[f])
    if count == 0 or (run and #run >= 4 and u32(run, 1) == count) then
      bytes = bytes + (run and #run or redis.call('HSTRLEN', KEYS[i], ARGV[f]))
      hits[i][#hits[i] + 1] = ARGV[f]
    end
  end
  a = a + 1 + 2 * tonumber(ARGV[a])
end
for i = 3 + buckets, #KEYS do bytes = bytes + redis.call('STRLEN', KEYS[i]) end

redis.call('DEL', KEYS[1])
for i = 3, 2 + buckets do
  if #hits[i] > 0 then gone = gone + redis.call('HDEL', KEYS[i], unpack(hits[i])) end
end
for i = 3 + buckets, #KEYS do redis.call('UNLINK', KEYS[i]) end
-- Never below nothing, whatever was stored behind our back.
local freed = math.min(bytes, held or 0)
if freed > 0 then redis.call('HINCRBY', KEYS[2], 'result_bytes', int(-freed)) end
return gone
