-- promote: moves scheduled messages that are due to their lanes.
--
-- KEYS  1 none, 2 paused, 3-10 the queue
-- ARGV  1 and 2: '1' and the queue, 3 most messages, 4 most bytes (the first message always moves)
-- Returns  the number of messages moved: 0 if none is due
-- Must never move more than it is told, or a message that is not due.

local q = read_queues(3, 1)[1]
redis.call('SCARD', KEYS[2])
local most, bytes_left = tonumber(ARGV[3]), tonumber(ARGV[4])
local due, now, SLICE = {}, now_ms(), 100

-- Adds what still fits; returns whether there may be more to add.
local function add(slice)
  for _, m in ipairs(slice) do
    if #due == most or (#due > 0 and #m > bytes_left) then return false end
    due[#due + 1] = m
    bytes_left = bytes_left - #m
  end
  return #slice == SLICE
end

repeat
  local slice = redis.call('ZRANGEBYSCORE', q.scheduled, '-inf', int(now), 'LIMIT', #due, SLICE)
until not add(slice)
if #due == 0 then return 0 end
local by_lane, tasks = { {}, {}, {} }, 0
for _, m in ipairs(due) do
  -- What has no readable header, or names another queue, goes uncounted to the normal lane, where claim buries it.
  local queue, lane, count = header(m)
  if queue ~= q.name then lane, count = 2, 0 end
  local list = by_lane[lane]
  list[#list + 1] = m
  tasks = tasks + count
end

redis.call('DEL', KEYS[1])
redis.call('ZREM', q.scheduled, unpack(due))
for lane = 1, 3 do
  if #by_lane[lane] > 0 then redis.call('RPUSH', q.lanes[lane], unpack(by_lane[lane])) end
end
count_tasks(q, 'scheduled_tasks', -tasks)
count_tasks(q, 'ready_tasks', tasks)
ring(q, KEYS[2])
return #due
