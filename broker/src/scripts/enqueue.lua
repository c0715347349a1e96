-- enqueue: appends messages to a batch by sequence number, and optionally seals it.
--
-- KEYS  1 batch hash, 2 batches, 3 queues, 4 paused, 5-12 the queue, 13.. parts of the blobs that the messages name
-- ARGV  1 batch id, 2 done channel, 3 seq, 4 seal (1 or 0), 5 single (1 or 0), 6 kernel, 7 and 8: '1' and the queue,
--       9 lane (1 high, 2 normal, 3 low), 10 due ms or '', 11 result ttl ms, 12 ms that a blob outlives its messages, 13 depth limit,
--       14 ms after which an untouched open batch is looked at, 15 bytes that the results of a batch of several may take,
--       16.. messages, at most 1000
-- Returns  { 'DONE' | 'DUPLICATE' | 'GAP', next seq }, { 'SEALED' }, { 'GONE' }, { 'BLOB_GONE', key },
--          { 'FULL', depth, limit }, { 'BAD', what }
-- Must never append a message twice, append to a sealed batch, or leave a gap in the indices of a batch.
-- Its first write is one that Redis refuses at maxmemory: then nothing at all has happened.

local id, channel, seq, seal, single = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5]
local lane, due, ttl = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local blob_margin, depth_limit, abandoned_ms = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local batch_key, batches_key, queues_key, paused_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local FIRST_MESSAGE, FIRST_BLOB, MESSAGES_MAX = 16, 13, 1000

local queues = read_queues(5, 7)
local q = queues[1]
redis.call('ZCARD', batches_key)
redis.call('SCARD', queues_key)
redis.call('SCARD', paused_key)
local state, next_seq, tasks, last_expiry = unpack(redis.call('HMGET', batch_key, 'state', 'next_seq', 'tasks', 'last_expiry_ms'))
next_seq, tasks, last_expiry = tonumber(next_seq or 0), tonumber(tasks or 0), tonumber(last_expiry or 0)
if not state and seq > 0 then return { 'GONE' } end
if seq < next_seq then return { 'DUPLICATE', next_seq } end
if state and state ~= 'open' then return { 'SEALED' } end
if seq > next_seq then return { 'GAP', next_seq } end

-- RPUSH of more than Lua can unpack would fail after the batch was written.
if #ARGV - FIRST_MESSAGE >= MESSAGES_MAX then return { 'BAD', 'a call holds at most 1000 messages' } end
local messages, added = {}, 0
for i = FIRST_MESSAGE, #ARGV do
  local queue, its_lane, count, first, expires, raw, is_single = header(ARGV[i])
  if not queue or queue ~= q.name or its_lane ~= lane then return { 'BAD', 'a message has no readable header, or another queue or lane' } end
  if first ~= tasks + added then return { 'BAD', 'the indices of a batch must follow each other' } end
  if batch_text(raw) ~= id or is_single ~= (single == '1') then return { 'BAD', 'a message belongs to another batch' } end
  messages[#messages + 1] = ARGV[i]
  added = added + count
  last_expiry = math.max(last_expiry, expires)
end
if single == '1' and (added ~= 1 or not seal or seq ~= 0) then return { 'BAD', 'a batch of one is created and sealed by one call' } end
for i = FIRST_BLOB, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then return { 'BLOB_GONE', KEYS[i] } end
end
local now = now_ms()
-- What is not due yet has no lane: the scheduled messages of all lanes share one limit.
local later = due and due > now
local depth, limit = later and q.later or q.waiting[lane], tonumber(redis.call('HGET', q.hash, 'depth_limit') or depth_limit)
if #messages > 0 and depth + #messages > limit then return { 'FULL', depth, limit } end

if not state then
  redis.call('HSET', batch_key, 'kernel', ARGV[6], 'queue', q.name, 'created_at_ms', int(now), 'result_ttl_ms', int(ttl),
    'single', single)
  if single ~= '1' then redis.call('HSET', batch_key, 'result_bytes_max', int(tonumber(ARGV[15]))) end
end
redis.call('HSET', batch_key, 'state', seal and 'sealed' or 'open', 'next_seq', int(seq + 1), 'tasks', int(tasks + added),
  'touched_at_ms', int(now), 'last_expiry_ms', int(last_expiry))
if seal then redis.call('HSET', batch_key, 'total', int(tasks + added)) end
if single == '1' then
  redis.call('PEXPIREAT', batch_key, int(math.max(last_expiry, now) + ttl))
else
  look_at(batches_key, id, now + abandoned_ms)
end
redis.call('SADD', queues_key, q.name)
local blob_ttl = math.max(last_expiry - now, 0) + blob_margin
for i = FIRST_BLOB, #KEYS do
  if redis.call('PTTL', KEYS[i]) < blob_ttl then redis.call('PEXPIRE', KEYS[i], int(blob_ttl)) end
end
if #messages > 0 then
  if later then
    for _, m in ipairs(messages) do redis.call('ZADD', q.scheduled, int(due), m) end
    count_tasks(q, 'scheduled_tasks', added)
  else
    redis.call('RPUSH', q.lanes[lane], unpack(messages))
    count_tasks(q, 'ready_tasks', added)
    if depth == 0 then ring(q, paused_key) end
  end
  count_tasks(q, 'enqueued_total', added)
end
if seal then finish(batch_key, batches_key, id, channel, now) end
return { 'DONE', seq + 1 }
