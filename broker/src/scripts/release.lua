-- release: gives unstarted messages back to the front of their lanes, in order and uncounted, and may cut a
-- message in two: its started part stays, the rest goes back.
--
-- KEYS  1 none, 2 leases, 3 paused, 4 cancelled, 5 consumer hash, 6 inflight, 7.. eight keys of each queue
-- ARGV  1 consumer, 2 op, 3 lease ms, 4 position from which all is dropped, 5 position of the cut message or '',
--       6 its started part, 7.. n queues, name..., n rests, rest...
-- Returns  as claim does; { 'MISMATCH', what } if the parts are not the message: nothing was written
-- Must never lose or double a task: the started part and the rests are exactly the message that was there.

local consumer, op, from, cut = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local verdict, settled = fence(KEYS[2], KEYS[5], consumer, op)
if verdict == 'LOST' then return { 'LOST' } end
if verdict == 'REPLAY' then return replay(settled, KEYS[6], KEYS[4]) end
local queues, _, a = read_queues(7, 7)
local held = redis.call('LLEN', KEYS[6])
redis.call('SCARD', KEYS[3])
redis.call('HLEN', KEYS[4])
if from < settled then return { 'MISMATCH', 'the position was settled already' } end
local keep = math.min(from - settled, held)

local parts = {}
if cut then
  if cut < settled or cut >= settled + keep then return { 'MISMATCH', 'the message to cut is not in flight' } end
  local message = redis.call('LINDEX', KEYS[6], cut - settled)
  local its_queue, _, whole, first = header(message)
  local covered = 0
  for i = 0, tonumber(ARGV[a]) do
    local part = i == 0 and ARGV[6] or ARGV[a + i]
    local queue, _, count, part_first = header(part)
    -- The first 33 bytes of a header, up to the batch, are those of the whole message.
    if not queue or not its_queue or queue ~= its_queue or string.sub(part, 1, 33) ~= string.sub(message, 1, 33) or part_first ~= first + covered then
      return { 'MISMATCH', 'a part does not continue the message' }
    end
    if i > 0 and not queues.by_name[queue] then return { 'MISMATCH', 'the keys of a part are missing' } end
    covered = covered + count
    if i > 0 then parts[#parts + 1] = part end
  end
  if covered ~= whole then return { 'MISMATCH', 'the parts are not the whole message' } end
end
local dropped = redis.call('LRANGE', KEYS[6], keep, -1)
for _, m in ipairs(dropped) do
  local queue = header(m)
  if not queue then return { 'MISMATCH', 'a dropped message has no readable header' } end
  if not queues.by_name[queue] then return { 'MISMATCH', 'the keys of a dropped message are missing' } end
  parts[#parts + 1] = m
end

local now = now_ms()
redis.call('DEL', KEYS[1])
keep_lease(KEYS[2], KEYS[5], consumer, op, settled, now, tonumber(ARGV[3]))
if keep == 0 then redis.call('DEL', KEYS[6]) else redis.call('LTRIM', KEYS[6], 0, keep - 1) end
if cut then redis.call('LSET', KEYS[6], cut - settled, ARGV[6]) end
for _, m in ipairs(parts) do
  local queue, _, count = header(m)
  count_tasks(queues.by_name[queue], 'running_tasks', -count)
end
to_front(queues, parts)
ring_pushed(queues, KEYS[3])
return answer('DONE', settled, settled, {}, now, KEYS[4], false)
