-- revive: takes a dead letter back to ready, with a fresh attempt, fresh charges and a fresh expiry.
--
-- KEYS  1 batch hash, 2 batches, 3 queues, 4 paused, 5 cancelled, 6-13 the queue, 14.. parts of the argument blob and of the shared input
-- ARGV  1 task id, 2 batch id, 3 counter that its end was counted in, 4 kernel, 5 result ttl ms (if the batch is gone),
--       6 blob ttl ms, 7 message, 8 and 9: '1' and the queue, 10 when the letter was buried, ms
-- Returns  { 'DONE' }, { 'GONE' } if there is no such dead letter (any more), { 'BLOB_GONE', key }, { 'BAD', what },
--          { 'CANCELLED' } if its whole batch is cancelled, and others of it have not ended yet
-- Must never finish a batch twice, count an end twice, or leave a cancel mark that would end the task again.
-- Its first write is one that Redis refuses at maxmemory: then nothing at all has happened.

local task, id, kind, message = ARGV[1], ARGV[2], ARGV[3], ARGV[7]
local batch_key, batches_key = KEYS[1], KEYS[2]
local q = read_queues(6, 8)[1]
redis.call('ZCARD', batches_key)
redis.call('SCARD', KEYS[3])
redis.call('SCARD', KEYS[4])
local mark = redis.call('HGET', KEYS[5], id)
local letter = redis.call('HGET', q.records, task)
-- Since its caller looked, the task may have been revived, and have died in another way.
if not letter or #letter < 8 or u64(letter, 1) ~= tonumber(ARGV[10]) then return { 'GONE' } end
local queue, lane, count, first, expires, raw, single = header(message)
if not queue or queue ~= q.name or count ~= 1 or batch_text(raw) ~= id then return { 'BAD', 'the message is not that task' } end
for i = 14, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then return { 'BLOB_GONE', KEYS[i] } end
end
local state, counted, last_expiry, ttl, recreated, tasks, created, total = unpack(redis.call('HMGET', batch_key, 'state',
  kind, 'last_expiry_ms', 'result_ttl_ms', 'recreated', 'tasks', 'created_at_ms', 'total'))
-- A mark of the whole batch may go only with the last of those whom it is for.
if mark and string.find(mark, '^[*-]') then
  if state and (state ~= 'finished' or outcomes_of(batch_key) < tonumber(total)) then return { 'CANCELLED' } end
  mark = ''
end
counted = tonumber(counted or 0) > 0
-- What died before its batch came back was counted in the hash that is gone.
if recreated and u64(letter, 1) < tonumber(created) then counted = false end

local now = now_ms()
redis.call('RPUSH', q.lanes[lane], message)
redis.call('ZREM', q.dead, task)
redis.call('HDEL', q.records, task)
count_tasks(q, 'dead_tasks', -1)
count_tasks(q, 'ready_tasks', 1)
-- Whoever revives a task wants it to run, also if it had been cancelled before.
if mark then
  local others = {}
  for index in string.gmatch(mark, '%d+') do
    if tonumber(index) ~= first then others[#others + 1] = index end
  end
  if #others > 0 then
    redis.call('HSET', KEYS[5], id, table.concat(others, ','))
  else
    redis.call('HDEL', KEYS[5], id)
  end
end
ttl = tonumber(ttl or ARGV[5])
if counted then
  redis.call('HINCRBY', batch_key, kind, -1)
elseif recreated then
  -- A batch that came back holds only what was revived: it grows with each.
  redis.call('HINCRBY', batch_key, 'total', 1)
  redis.call('HSET', batch_key, 'tasks', int(math.max(first + 1, tonumber(tasks))))
elseif not state then
  redis.call('HSET', batch_key, 'kernel', ARGV[4], 'queue', q.name, 'state', 'sealed', 'next_seq', '1', 'total', '1',
    'tasks', int(first + 1), 'created_at_ms', int(now), 'result_ttl_ms', int(ttl), 'single', single and '1' or '0', 'recreated', '1')
end
redis.call('HSET', batch_key, 'revived_at_ms', int(now), 'touched_at_ms', int(now),
  'last_expiry_ms', int(math.max(expires, tonumber(last_expiry or 0))))
if single then
  redis.call('PEXPIREAT', batch_key, int(math.max(expires, now) + ttl))
elseif state ~= 'open' then
  -- An open batch is looked at sooner, to see whether its client still lives.
  look_at(batches_key, id, math.max(expires, now) + ttl)
end
for i = 14, #KEYS do
  if redis.call('PTTL', KEYS[i]) < tonumber(ARGV[6]) then redis.call('PEXPIRE', KEYS[i], ARGV[6]) end
end
ring(q, KEYS[4])
return { 'DONE' }
