-- touch: keeps batches from being swept while somebody works on them or waits for them.
--
-- KEYS  1 none, 2.. batch hashes
-- ARGV  1 ms that a batch of one lives at least from now, besides its result ttl
-- Returns  the number of batches that exist
-- Must never create a batch hash, or shorten a life.

local states = {}
for i = 2, #KEYS do
  states[i] = redis.call('HMGET', KEYS[i], 'state', 'single', 'result_ttl_ms')
end
local now, found = now_ms(), 0
redis.call('DEL', KEYS[1])
for i = 2, #KEYS do
  local state, single, ttl = unpack(states[i])
  if state then
    found = found + 1
    redis.call('HSET', KEYS[i], 'touched_at_ms', int(now))
    if single == '1' and state ~= 'finished' then
      local life = tonumber(ttl) + tonumber(ARGV[1])
      if redis.call('PTTL', KEYS[i]) < life then redis.call('PEXPIRE', KEYS[i], int(life)) end
    end
  end
end
return found
