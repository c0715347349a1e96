-- hasten: scheduled messages that are cancelled as a whole become due now, so that their tasks need not wait to end.
--
-- KEYS  1 none, 2 cancelled, 3 scheduled
-- ARGV  1 batch id, 2 cursor: '0', then what the last call returned, 3 how many messages to look at
-- Returns  { next cursor ('0': all were looked at), how many are due now that were not }
-- Must never make a message due of which any task may still run, or add one.

local mark = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local cursor, page = unpack(redis.call('ZSCAN', KEYS[3], ARGV[2], 'COUNT', ARGV[3]))
local raw = string.gsub(string.gsub(ARGV[1], '-', ''), '..', function(hex) return string.char(tonumber(hex, 16)) end)
local all, marked = string.find(mark, '^[*-]'), {}
for index in string.gmatch(mark, '%d+') do marked[tonumber(index)] = true end

local function covers(first, count)
  for index = first, first + count - 1 do
    if not all and not marked[index] then return false end
  end
  return true
end

local now, due = now_ms(), {}
for i = 1, #page, 2 do
  local m = page[i]
  if string.sub(m, 18, 33) == raw and tonumber(page[i + 1]) > now then
    local queue, _, count, first = header(m)
    if queue and covers(first, count) then
      due[#due + 1] = int(now)
      due[#due + 1] = m
    end
  end
end
if #due > 0 then
  redis.call('DEL', KEYS[1])
  call_in_slices('ZADD', KEYS[3], due)
end
return { cursor, #due / 2 }
