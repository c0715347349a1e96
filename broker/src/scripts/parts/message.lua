-- Part: reading a message's header. Offsets are those of docs/protocol.md, counted from 1.

local function u32(s, at)
  local a, b, c, d = string.byte(s, at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function u64(s, at)
  return u32(s, at) * 4294967296 + u32(s, at + 4)
end

local function be32(n)
  return string.char(math.floor(n / 16777216) % 256, math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
end

local function be64(n)
  return be32(math.floor(n / 4294967296)) .. be32(n % 4294967296)
end

-- Integers leave Lua through this: plain concatenation turns 1e15 into '1e+15'.
local function int(n)
  return string.format('%.0f', n)
end

-- The id of a batch as text, from the 16 bytes of a header.
local function batch_text(raw)
  local hex = string.gsub(raw, '.', function(c) return string.format('%02x', string.byte(c)) end)
  return string.sub(hex, 1, 8) .. '-' .. string.sub(hex, 9, 12) .. '-' .. string.sub(hex, 13, 16) .. '-'
    .. string.sub(hex, 17, 20) .. '-' .. string.sub(hex, 21, 32)
end

-- queue, lane (1 high, 2 normal, 3 low), count, first, expires_at_ms, raw batch id, single; nil if unreadable.
local function header(m)
  if #m < 51 or string.sub(m, 1, 2) ~= 'GM' then return nil end
  local lane, queue_bytes = string.byte(m, 5), string.byte(m, 50)
  local count, first, expires = u32(m, 42), u64(m, 34), u64(m, 10)
  local single = string.byte(m, 4) % 2 == 1
  local attempt = string.byte(m, 6) * 256 + string.byte(m, 7)
  if lane > 2 or attempt == 0 or count < 1 or count > 4096 then return nil end
  if first > 9007199254740992 - 4096 or expires > 9007199254740992 then return nil end
  if single and (first ~= 0 or count ~= 1) then return nil end
  if queue_bytes < 1 or queue_bytes > 64 or #m < 50 + queue_bytes or #m > 131072 then return nil end
  local queue = string.sub(m, 51, 50 + queue_bytes)
  if string.find(queue, '[^a-z0-9_.-]') then return nil end
  return queue, lane + 1, count, first, expires, string.sub(m, 18, 33), single
end

-- Calls a command with all of `list`. Lua unpacks some thousand values at most, and an error in the middle of a
-- script leaves what was written before it.
local function call_in_slices(command, key, list)
  for i = 1, #list, 1000 do
    redis.call(command, key, unpack(list, i, math.min(i + 999, #list)))
  end
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

