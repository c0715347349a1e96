-- cancel: marks a batch, or some of its tasks, as cancelled, for as long as the batch lives.
--
-- KEYS  1 none, 2 batch hash, 3 batches, 4 cancelled, 5 clock
-- ARGV  1 batch id, 2 done channel, 3 most bytes of a mark, 4 '*' the whole batch, '-' what has not started of it
--       (both seal it), '' the tasks that follow, 5.. indices
-- Returns  { 'DONE' }, { 'NO_BATCH' }, { 'FINISHED' }, { 'NO_TASK', index }, { 'TOO_MANY' }
-- Must never remove a message: whoever claims it finds it flagged, and settles it.

local id, channel = ARGV[1], ARGV[2]
local state, tasks, single, total = unpack(redis.call('HMGET', KEYS[2], 'state', 'tasks', 'single', 'total'))
if not state then return { 'NO_BATCH' } end
-- A finished batch has fewer outcomes than tasks while one that was revived waits or runs.
if state == 'finished' and outcomes_of(KEYS[2]) >= tonumber(total) then return { 'FINISHED' } end
redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[5])
local mark = redis.call('HGET', KEYS[4], id)
local wish = ARGV[4]
if wish == '' and single == '1' then wish = '*' end
for i = 5, #ARGV do
  if tonumber(ARGV[i]) >= tonumber(tasks) then return { 'NO_TASK', ARGV[i] } end
end
if wish == '*' then
  mark = '*'
elseif mark ~= '*' then
  -- What has not started may be cancelled already, with a reason (parts/ending.lua) that stays.
  local unstarted = string.match(mark or '', '^%-!%d+') or string.match(mark or '', '^%-')
  mark = string.sub(mark or '', #(unstarted or '') + 1)
  if wish == '-' then unstarted = unstarted or '-' end
  -- A repeated call adds nothing.
  local indices, known, bytes = {}, {}, -1
  local function add(index)
    if known[index] then return end
    known[index], indices[#indices + 1], bytes = true, index, bytes + #index + 1
  end
  for index in string.gmatch(mark, '%d+') do add(index) end
  for i = 5, #ARGV do add(ARGV[i]) end
  if bytes > tonumber(ARGV[3]) then return { 'TOO_MANY' } end
  if unstarted then table.insert(indices, 1, unstarted) end
  mark = table.concat(indices, ',')
end

local now = now_ms()
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[4], id, mark)
redis.call('HINCRBY', KEYS[5], 'cancel_epoch', 1)
redis.call('PEXPIRE', KEYS[5], 604800000)
-- The mark of a batch of one is found again through the zset, since its hash just expires.
if single == '1' then look_at(KEYS[3], id, now + math.max(redis.call('PTTL', KEYS[2]), 0) + 1000) end
if wish ~= '' then
  redis.call('HSET', KEYS[2], 'cancelled_at_ms', int(now))
  if state == 'open' then
    redis.call('HSET', KEYS[2], 'state', 'sealed', 'total', tasks)
    finish(KEYS[2], KEYS[3], id, channel, now)
  end
end
redis.call('PUBLISH', channel, 's')
return { 'DONE' }
