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

-- Most calls are about many messages of one batch and one queue: what was worked out for one is kept for the next.
local text_of, is_name = {}, {}
local UUID = '%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x'

-- The id of a batch as text, from the 16 bytes of a header.
local function batch_text(raw)
  local text = text_of[raw]
  if not text then
    text = string.format(UUID, string.byte(raw, 1, 16))
    text_of[raw] = text
  end
  return text
end

-- Whether a queue may be called so.
local function is_queue_name(name)
  if is_name[name] == nil then is_name[name] = not string.find(name, '[^a-z0-9_.-]') end
  return is_name[name]
end

-- queue, lane (1 high, 2 normal, 3 low), count, first, expires_at_ms, raw batch id, single; nil if unreadable.
local function header(m)
  if #m < 51 or #m > 131072 then return nil end
  local magic, _, flags, lane, attempt, _, _, expires, raw, first, count, _, queue_bytes = struct.unpack('>c2BBBHBBI8c16I8I4I4B', m)
  if magic ~= 'GM' or lane > 2 or attempt == 0 or count < 1 or count > 4096 then return nil end
  if first > 9007199254740992 - 4096 or expires > 9007199254740992 then return nil end
  local single = flags % 2 == 1
  if single and (first ~= 0 or count ~= 1) then return nil end
  if queue_bytes < 1 or queue_bytes > 64 or #m < 50 + queue_bytes then return nil end
  local queue = string.sub(m, 51, 50 + queue_bytes)
  if not is_queue_name(queue) then return nil end
  return queue, lane + 1, count, first, expires, raw, single
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

