-- Part: taking messages from the lanes, strictly in order. Shared by claim and settle.
--
-- ARGV from a: max messages, max tasks, max bytes, n sources (the first n of the queues read before),
--   n parked lists, number of each one's queue.
-- KEYS from k: parked lists.

local INFLIGHT_MESSAGES_MAX = 256
-- Rubbish moved in one call; a lane full of it must not block Redis.
local UNREADABLE_MAX = 64

local function read_sources(queues, k, a)
  local s = { messages = tonumber(ARGV[a]), tasks = tonumber(ARGV[a + 1]), bytes = tonumber(ARGV[a + 2]),
    lists = {}, unreadable = 0 }
  local n = tonumber(ARGV[a + 3])
  for i = 1, n do
    for lane = 1, 3 do s.lists[#s.lists + 1] = { queue = queues[i], key = queues[i].lanes[lane], lane = lane, from = 'ready_tasks' } end
  end
  for i = 1, tonumber(ARGV[a + 4]) do
    redis.call('LLEN', KEYS[k])
    s.lists[#s.lists + 1] = { queue = queues[tonumber(ARGV[a + 4 + i])], key = KEYS[k], from = 'parked_tasks' }
    k = k + 1
  end
  return s
end

-- What was taken: messages, and beside each what its header says of its tasks, its expiry and its batch.
local function nothing_taken()
  return { counts = {}, expiries = {}, raws = {} }
end

-- How many of `peeked` fit; the first message of a call always does. What names another queue than that of its
-- list was put there by a foreign hand: it would be counted here when it is taken, and there when it ends.
local function fitting(name, s, taken, peeked, unreadable)
  local fit = 0
  for _, m in ipairs(peeked) do
    local queue, _, count, _, expires, raw = header(m)
    if queue ~= name then
      unreadable[#unreadable + 1] = m
    elseif #taken == 0 or (count <= s.tasks and #m <= s.bytes) then
      local n = #taken + 1
      taken[n], taken.counts[n], taken.expiries[n], taken.raws[n] = m, count, expires, raw
      s.tasks, s.bytes = s.tasks - count, s.bytes - #m
    else
      return fit, true
    end
    fit = fit + 1
  end
  return fit, false
end

-- Empties one list as far as the budget goes. Returns whether the budget is spent.
local function take_from(list, s, taken, now)
  local q, tasks, spent = list.queue, 0, false
  while #taken < s.messages and not spent do
    local before, unreadable = #taken, {}
    local peeked = redis.call('LRANGE', list.key, 0, math.min(s.messages - #taken, 32) - 1)
    if #peeked == 0 then break end
    local fit, full = fitting(q.name, s, taken, peeked, unreadable)
    if fit > 0 then redis.call('LTRIM', list.key, fit, -1) end
    if list.lane then q.waiting[list.lane] = q.waiting[list.lane] - fit end
    for i = before + 1, #taken do tasks = tasks + taken.counts[i] end
    for _, m in ipairs(unreadable) do bury_unreadable(q, m, now) end
    s.unreadable = s.unreadable + #unreadable
    spent = full or s.unreadable >= UNREADABLE_MAX
  end
  count_tasks(q, list.from, -tasks)
  count_tasks(q, 'running_tasks', tasks)
  return spent or #taken >= s.messages
end

-- Moves messages into the in-flight list, which holds `held`, and returns them. `paused` are the queues to skip.
local function take(s, inflight_key, held, paused_key, paused, now)
  local taken, is_paused = nothing_taken(), {}
  s.messages = math.min(s.messages, INFLIGHT_MESSAGES_MAX - held)
  for _, name in ipairs(paused) do is_paused[name] = true end
  for _, list in ipairs(s.lists) do
    local empty = list.lane and list.queue.waiting[list.lane] == 0
    if not empty and not is_paused[list.queue.name] and take_from(list, s, taken, now) then break end
  end
  if #taken > 0 then redis.call('RPUSH', inflight_key, unpack(taken)) end
  -- One ring woke one consumer; whoever finds more than it may take wakes the next. A busy consumer that got
  -- a ring asks for no message at all, only for this.
  for _, list in ipairs(s.lists) do
    if list.lane and list.queue.waiting[list.lane] > 0 and not is_paused[list.queue.name] then ring(list.queue, paused_key) end
  end
  return taken
end
