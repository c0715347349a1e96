-- hasten: scheduled messages that are cancelled as a whole become due now, so that their tasks need not wait to end.
--
-- KEYS  1 none, 2 cancelled, 3 scheduled
-- ARGV  1 batch id, 2 cursor: '0', then what the last call returned, 3 how many messages to look at
-- Returns  { next cursor ('0': all were looked at), how many are due now that were not, how many tasks are cancelled one by
--            one (0: all are), which of them were met }
-- Must never make a message due of which any task may still run, or add one.

local mark = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local cursor, page = unpack(redis.call('ZSCAN', KEYS[3], ARGV[2], 'COUNT', ARGV[3]))
local raw = string.gsub(string.gsub(ARGV[1], '-', ''), '..', function(hex) return string.char(tonumber(hex, 16)) end)
local all, marked, wanted, met = string.find(mark, '^[*-]'), {}, 0, {}
if not all then
  for index in string.gmatch(mark, '%d+') do marked[tonumber(index)], wanted = true, wanted + 1 end
end

local function covers(first, count)
  if all then return true end
  local whole = true
  for index = first, first + count - 1 do
    if marked[index] then met[#met + 1] = int(index) else whole = false end
  end
  return whole
end

local now, due = now_ms(), {}
for i = 1, #page, 2 do
  local m = page[i]
  if string.sub(m, 18, 33) == raw then
    local queue, _, count, first = header(m)
    if queue and covers(first, count) and tonumber(page[i + 1]) > now then
      due[#due + 1] = int(now)
      due[#due + 1] = m
    end
  end
end
if #due > 0 then
  redis.call('DEL', KEYS[1])
  call_in_slices('ZADD', KEYS[3], due)
end
return { cursor, #due / 2, wanted, met }
