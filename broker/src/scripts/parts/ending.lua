-- Part: how messages end: outcomes, replacements, dead letters. Shared by settle, judge and purge.
--
-- ARGV from a: n queues, name...; n batches, (id, channel)...; n buckets; n parked lists;
--   n runs, (batch, bucket or 0, first, value, bytes of the blobs that it names)...; n replacements, (kind, argument, message)...;
--   n dead, (queue, task id, record)...; dead_max; dead_age_ms.
--   kind: f front, b back, s scheduled (argument: due ms; b if all of its batch is cancelled), p parked (argument: number of the list).
-- KEYS from k: eight of each queue; hash and runs of each batch; buckets; parked lists.

-- Whether a key is free or ours. What a foreign hand put in the place of a batch's keys costs this batch its results,
-- and nobody else anything.
local function is_ours(key, kind)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end

local function read_ending(k, a)
  local e = { batches = {}, by_id = {}, buckets = {}, parked = {}, runs = {}, replacements = {}, dead = {} }
  e.queues, k, a = read_queues(k, a)
  for i = 1, tonumber(ARGV[a]) do
    local b = { id = ARGV[a + 1], channel = ARGV[a + 2], hash = KEYS[k], runs = KEYS[k + 1], edges = {}, counts = {}, listed = {} }
    if is_ours(b.hash, 'hash') then
      b.state, b.tasks, b.single, b.recreated, b.revived, b.ttl, b.bytes_max, b.stopped = unpack(redis.call('HMGET', b.hash,
        'state', 'tasks', 'single', 'recreated', 'revived_at_ms', 'result_ttl_ms', 'result_bytes_max', 'stopped'))
    end
    b.lists = b.single ~= '1' and is_ours(b.runs, 'list')
    e.batches[i], e.by_id[b.id] = b, b
    k, a = k + 2, a + 2
  end
  a = a + 1
  for i = 1, tonumber(ARGV[a]) do
    e.buckets[i] = { key = KEYS[k], pairs = {}, ours = is_ours(KEYS[k], 'hash') }
    k = k + 1
  end
  a = a + 1
  for i = 1, tonumber(ARGV[a]) do
    redis.call('LLEN', KEYS[k])
    e.parked[i] = KEYS[k]
    k = k + 1
  end
  a = a + 1
  for i = 1, tonumber(ARGV[a]) do
    e.runs[i] = { batch = e.batches[tonumber(ARGV[a + 1])], bucket = e.buckets[tonumber(ARGV[a + 2])],
      first = tonumber(ARGV[a + 3]), value = ARGV[a + 4], blob_bytes = tonumber(ARGV[a + 5]) }
    a = a + 5
  end
  a = a + 1
  for i = 1, tonumber(ARGV[a]) do
    e.replacements[i] = { kind = ARGV[a + 1], argument = tonumber(ARGV[a + 2]), message = ARGV[a + 3] }
    a = a + 3
  end
  a = a + 1
  for i = 1, tonumber(ARGV[a]) do
    e.dead[i] = { queue = e.queues[tonumber(ARGV[a + 1])], id = ARGV[a + 2], record = ARGV[a + 3] }
    a = a + 3
  end
  e.dead_max, e.dead_age_ms = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  return e, k, a + 3
end

-- Marks where a stretch of task indices begins and ends. What messages hold counts up, what becomes of them
-- counts down: the two cover the same indices if every mark cancels out.
local function mark(b, first, count, n)
  b.edges[first] = (b.edges[first] or 0) + n
  b.edges[first + count] = (b.edges[first + count] or 0) - n
end

local function check_run(run)
  local b, value = run.batch, run.value
  if not b or not run.first or not run.blob_bytes or #value < 5 then return 'a run names no batch, or has no outcomes' end
  run.count = u32(value, 1)
  if run.count < 1 or run.count > 4096 or #value < 4 + 2 * run.count then return 'a run is cut short' end
  -- Nearly all tasks of nearly all runs succeed.
  local all = string.sub(value, 5, 4 + run.count) == string.rep('\0', run.count)
  if all then b.counts.succeeded = (b.counts.succeeded or 0) + run.count end
  for i = 5, all and 4 or 4 + run.count do
    local kind = KINDS[string.byte(value, i) % 128 + 1]
    if not kind then return 'a run has an unknown status' end
    b.counts[kind] = (b.counts[kind] or 0) + 1
  end
  mark(b, run.first, run.count, -1)
  if b.state then
    if b.single ~= '1' and not run.bucket then return 'a run of a batch of several names no bucket' end
    -- A batch that revive brought back knows only what was revived; stragglers of its first life are welcome.
    if not b.recreated and run.first + run.count > tonumber(b.tasks) then return 'a run lies outside of its batch' end
  end
end

local function check_replacement(e, r)
  local queue, _, count, first, expires, raw = header(r.message)
  if not queue then return 'a replacement has no readable header' end
  r.queue, r.count, r.expires = e.queues.by_name[queue], count, expires
  local b = e.by_id[batch_text(raw)]
  if not r.queue or not b then return 'a replacement belongs to a queue or batch whose keys are missing' end
  if r.kind == 's' and not r.argument then return 'a scheduled replacement has no due time' end
  if r.kind == 'p' and not e.parked[r.argument] then return 'a parked replacement names no list' end
  r.batch = b
  mark(b, first, count, -1)
end

-- Marks what the messages hold. Most follow each other: then only where the first begins and the last ends.
local function mark_ended(e, messages)
  local batch, from, upto
  for _, m in ipairs(messages) do
    local queue, _, count, first, _, raw = header(m)
    if not queue then return 'a message has no readable header' end
    local q, b = e.queues.by_name[queue], e.by_id[batch_text(raw)]
    if not q or not b then return 'a message belongs to a queue or batch whose keys are missing' end
    if b ~= batch or first ~= upto then
      if batch then mark(batch, from, upto - from, 1) end
      batch, from = b, first
    end
    upto = first + count
    b.queue = q
    q.leaving = (q.leaving or 0) + count
  end
  if batch then mark(batch, from, upto - from, 1) end
end

-- Checks everything against the messages that end. Returns the fault in words, or nil.
local function check_ending(e, messages)
  for _, run in ipairs(e.runs) do
    local fault = check_run(run)
    if fault then return fault end
  end
  for _, r in ipairs(e.replacements) do
    local fault = check_replacement(e, r)
    if fault then return fault end
  end
  for _, d in ipairs(e.dead) do
    if not d.queue then return 'a dead letter names no queue' end
  end
  local fault = mark_ended(e, messages)
  if fault then return fault end
  for _, b in ipairs(e.batches) do
    for _, n in pairs(b.edges) do
      if n ~= 0 then return 'batch ' .. b.id .. ': the ends do not cover the messages exactly' end
    end
  end
end

local function record_runs(e)
  for _, run in ipairs(e.runs) do
    local b = run.batch
    if not b.state then
      count_tasks(b.queue, 'orphaned', run.count)
    elseif b.single == '1' then
      b.outcome = run.value
      b.hint = #run.value <= 4096 and 'o' .. run.value or 's'
    else
      local pairs_of, listed = run.bucket.pairs, b.listed
      if run.bucket.ours then
        pairs_of[#pairs_of + 1], pairs_of[#pairs_of + 2] = int(run.first), run.value
        b.stored = (b.stored or 0) + #run.value + run.blob_bytes
      else
        count_tasks(b.queue, 'orphaned', run.count)
      end
      listed[#listed + 1] = int(run.first) .. ' ' .. int(run.count)
      b.hint = 's'
    end
  end
  for _, bucket in ipairs(e.buckets) do
    call_in_slices('HSET', bucket.key, bucket.pairs)
  end
end

local function count_outcomes(e, now)
  for _, b in ipairs(e.batches) do
    if b.state and b.hint then
      local totals = b.queue.totals or {}
      b.queue.totals = totals
      for kind, n in pairs(b.counts) do totals[kind] = (totals[kind] or 0) + n end
      if b.outcome and b.state == 'sealed' and not b.revived then
        finish_single(b.hash, b.ttl, b.outcome, next(b.counts), now)
        b.state = 'finished'
      else
        if b.outcome then redis.call('HSET', b.hash, 'outcome', b.outcome) end
        for kind, n in pairs(b.counts) do redis.call('HINCRBY', b.hash, kind, int(n)) end
        if b.lists then call_in_slices('RPUSH', b.runs, b.listed) end
      end
      redis.call('PUBLISH', b.channel, b.hint)
    end
  end
  for _, q in ipairs(e.queues) do
    for kind, n in pairs(q.totals or {}) do count_tasks(q, kind .. '_total', n) end
  end
end

-- Nothing of such a batch starts any more: who claims it finds it flagged.
local function is_cancelled_whole(b, keys)
  return string.find(redis.call('HGET', keys.cancelled, b.id) or '', '^[*-]') ~= nil
end

local function place_replacements(e, keys, now)
  local front = {}
  for _, r in ipairs(e.replacements) do
    local q, kind = r.queue, r.kind
    -- It would only end as cancelled when it is due. Let it end soon: hasten may have been here before.
    if kind == 's' and is_cancelled_whole(r.batch, keys) then kind = 'b' end
    if kind == 'f' then
      front[#front + 1] = r.message
    elseif kind == 'b' then
      local _, lane = header(r.message)
      redis.call('RPUSH', q.lanes[lane], r.message)
      q.waiting[lane] = q.waiting[lane] + 1
      count_tasks(q, 'ready_tasks', r.count)
      q.pushed = true
    elseif kind == 's' then
      redis.call('ZADD', q.scheduled, int(r.argument), r.message)
      count_tasks(q, 'scheduled_tasks', r.count)
    else
      -- The list must not go before the batch that counts on its messages: that one goes a result ttl after the expiry.
      local list, until_ms = e.parked[r.argument], math.max(r.expires, now) + (tonumber(r.batch.ttl) or 0) + 86400000
      local ttl = redis.call('PTTL', list)
      redis.call('RPUSH', list, r.message)
      if ttl < until_ms - now then redis.call('PEXPIREAT', list, int(until_ms)) end
      count_tasks(q, 'parked_tasks', r.count)
    end
  end
  to_front(e.queues, front)
end

-- What has not started of a batch never will if its results take more room than they may. What runs goes on. The
-- mark is that of a cancel of everything unstarted; it says why, for those who find it.
local function stop_over_budget(b, keys, now)
  local mark = redis.call('HGET', keys.cancelled, b.id) or ''
  if not string.find(mark, '^[*-]') then
    local reason = '-!' .. b.bytes_max
    redis.call('HSET', keys.cancelled, b.id, mark == '' and reason or reason .. ',' .. mark)
  end
  redis.call('HSET', b.hash, 'stopped', 'result_bytes')
  redis.call('HINCRBY', keys.clock, 'cancel_epoch', 1)
  redis.call('PEXPIRE', keys.clock, 604800000)
  if b.state == 'open' then
    redis.call('HSET', b.hash, 'state', 'sealed', 'total', b.tasks)
    finish(b.hash, keys.batches, b.id, b.channel, now)
  end
end

local function count_stored(e, keys, now)
  for _, b in ipairs(e.batches) do
    if b.stored then
      local bytes = redis.call('HINCRBY', b.hash, 'result_bytes', int(b.stored))
      local over = b.bytes_max and bytes > tonumber(b.bytes_max) and not b.stopped
      if over and (b.state == 'open' or b.state == 'sealed') then stop_over_budget(b, keys, now) end
    end
  end
end

-- Writes a checked ending. `from` is the counter which the messages leave; `keys` are those of batches, paused,
-- cancelled and clock.
local function apply_ending(e, from, keys, now)
  for _, q in ipairs(e.queues) do count_tasks(q, from, -(q.leaving or 0)) end
  record_runs(e)
  count_outcomes(e, now)
  for _, d in ipairs(e.dead) do bury(d.queue, d.id, d.record, now) end
  for _, q in ipairs(e.queues) do
    if #e.dead > 0 then trim_dead(q, now, e.dead_max, e.dead_age_ms) end
  end
  for _, b in ipairs(e.batches) do
    if b.state == 'sealed' and b.hint and finish(b.hash, keys.batches, b.id, b.channel, now) then b.state = 'finished' end
  end
  count_stored(e, keys, now)
  -- After the budget: this very call may have cancelled the batch.
  place_replacements(e, keys, now)
  ring_pushed(e.queues, keys.paused)
end

