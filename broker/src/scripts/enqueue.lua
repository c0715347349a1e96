-- enqueue: appends messages to a batch by sequence number, and optionally seals it.
--
-- KEYS  1 batch hash, 2 batches, 3 queues, 4 paused, 5 idempotency key or none, 6-13 the queue,
--       14.. parts of the blobs that the messages name
-- ARGV  1 batch id, 2 done channel, 3 seq, 4 seal (1 or 0), 5 single (1 or 0), 6 kernel, 7 and 8: '1' and the queue,
--       9 lane (1 high, 2 normal, 3 low), 10 due ms or '', 11 result ttl ms, 12 ms that a blob outlives its messages, 13 depth limit,
--       14 ms after which an untouched open batch is looked at, 15 bytes that the results of a batch of several may take,
--       16 value of the idempotency key, 17 ms that it is kept (0: there is none),
--       18 number of further fields of the batch, 19.. each field and its value, which the first call writes,
--       then messages, at most 1000
-- Returns  { 'DONE' | 'DUPLICATE' | 'GAP', next seq }, { 'SEALED' }, { 'GONE' }, { 'BLOB_GONE', key },
--          { 'FULL', depth, limit }, { 'KNOWN', value of the idempotency key }, { 'BAD', what }
-- Must never append a message twice, append to a sealed batch, leave a gap in the indices of a batch, or take an
-- idempotency key that is taken, or take one and enqueue nothing.
-- Its first write is one that Redis refuses at maxmemory: then nothing at all has happened.

local id, channel, seq, seal, single = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5]
local lane, due, ttl = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local blob_margin, depth_limit, abandoned_ms = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local batch_key, batches_key, queues_key, paused_key, once_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local window, field_count = tonumber(ARGV[17]), tonumber(ARGV[18])
local FIRST_FIELD, FIRST_BLOB, MESSAGES_MAX, FIELDS_MAX = 19, 14, 1000, 19
local FIRST_MESSAGE = FIRST_FIELD + 2 * field_count

-- Whether a field may stand in the hash of a batch besides those that the scripts keep there.
local function is_extra(field, value)
  local label = string.match(field, '^label%.([a-z0-9_.-]+)$')
  if label then return #label <= 64 and #value <= 256 end
  if field == 'key' then return #value <= 256 end
  return (field == 'shared_bytes' or field == 'shared_parts') and string.match(value, '^%d+$') ~= nil
end

local queues = read_queues(6, 7)
local q = queues[1]
if single ~= '1' then redis.call('ZCARD', batches_key) end
local is_known_queue = redis.call('SISMEMBER', queues_key, q.name) == 1
redis.call('SCARD', paused_key)
local state, next_seq, tasks, last_expiry = unpack(redis.call('HMGET', batch_key, 'state', 'next_seq', 'tasks', 'last_expiry_ms'))
next_seq, tasks, last_expiry = tonumber(next_seq or 0), tonumber(tasks or 0), tonumber(last_expiry or 0)
if not state and seq > 0 then return { 'GONE' } end
if seq < next_seq then return { 'DUPLICATE', next_seq } end
if state and state ~= 'open' then return { 'SEALED' } end
if seq > next_seq then return { 'GAP', next_seq } end

if field_count > FIELDS_MAX then return { 'BAD', 'a batch has at most 16 labels and 3 other fields' } end
local extra = {}
for i = FIRST_FIELD, FIRST_MESSAGE - 1, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  if not value or not is_extra(field, value) then return { 'BAD', 'a further field of a batch has no such name or value' } end
  extra[#extra + 1] = field
  extra[#extra + 1] = value
end
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
if window > 0 then
  if single ~= '1' then return { 'BAD', 'only a batch of one takes an idempotency key' } end
  local held = redis.call('GET', once_key)
  if held then return { 'KNOWN', held } end
end
for i = FIRST_BLOB, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then return { 'BLOB_GONE', KEYS[i] } end
end
local now = now_ms()
-- What is not due yet has no lane: the scheduled messages of all lanes share one limit.
local later = due and due > now
local depth, limit = later and q.later or q.waiting[lane], tonumber(redis.call('HGET', q.hash, 'depth_limit') or depth_limit)
if #messages > 0 and depth + #messages > limit then return { 'FULL', depth, limit } end

local fields = { 'state', seal and 'sealed' or 'open', 'next_seq', int(seq + 1), 'tasks', int(tasks + added), 'touched_at_ms', int(now),
  'last_expiry_ms', int(last_expiry) }
local function set(field, value)
  fields[#fields + 1], fields[#fields + 2] = field, value
end
if seal then set('total', int(tasks + added)) end
if not state then
  set('kernel', ARGV[6])
  set('queue', q.name)
  set('created_at_ms', int(now))
  set('result_ttl_ms', int(ttl))
  set('single', single)
  if single ~= '1' then set('result_bytes_max', int(tonumber(ARGV[15]))) end
  for i = 1, #extra, 2 do set(extra[i], extra[i + 1]) end
end
redis.call('HSET', batch_key, unpack(fields))
if single == '1' then
  redis.call('PEXPIREAT', batch_key, int(math.max(last_expiry, now) + ttl))
else
  look_at(batches_key, id, now + abandoned_ms)
end
if window > 0 then redis.call('SET', once_key, ARGV[16], 'PX', int(window)) end
if not is_known_queue then redis.call('SADD', queues_key, q.name) end
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
if seal and single ~= '1' then finish(batch_key, batches_key, id, channel, now) end
return { 'DONE', seq + 1 }
