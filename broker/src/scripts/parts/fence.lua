-- Part: the fence and the op counter of claim, settle and release.

-- 'RUN': the lease exists and this is the next op. 'REPLAY': this op ran already, its reply was lost.
-- 'LOST': the lease was reclaimed, or consumer and Redis disagree about what ran; nothing may be written.
-- With it, how many messages the consumer has settled.
local function fence(leases_key, consumer_key, consumer, op)
  if not redis.call('ZSCORE', leases_key, consumer) then return 'LOST' end
  local stored, settled = unpack(redis.call('HMGET', consumer_key, 'op', 'settled'))
  stored, settled = tonumber(stored), tonumber(settled)
  if stored == op - 1 then return 'RUN', settled end
  if stored == op then return 'REPLAY', settled end
  return 'LOST'
end

-- Records that `op` ran, and what was settled with it, and renews the lease.
local function keep_lease(leases_key, consumer_key, consumer, op, settled, now, lease_ms)
  redis.call('HSET', consumer_key, 'op', int(op), 'settled', int(settled))
  redis.call('ZADD', leases_key, int(now + lease_ms), consumer)
end

-- '' run it; 'x' expired; 'c' cancelled; 'b:100' cancelled because the results of its batch take more than so many
-- bytes; 's:1,2' these of its tasks are cancelled.
local function flag_of(raw, expires, now, cancelled_key, any_cancelled)
  -- A foreign hand was here: the consumer ends over it, and reclaim buries it.
  if not raw then return '' end
  if any_cancelled then
    local mark = redis.call('HGET', cancelled_key, batch_text(raw))
    local bytes = mark and string.match(mark, '^%-!(%d+)')
    if bytes then return 'b:' .. bytes end
    if mark and string.find(mark, '^[*-]') then return 'c' end
    if mark and expires > now then return 's:' .. mark end
  end
  if expires <= now then return 'x' end
  return ''
end

-- The answer of claim: settled, position of the first message listed, then message and flag in turn. `taken` has the
-- expiry and the batch of each message beside it (parts/take.lua).
local function answer(status, settled, base, taken, now, cancelled_key, any_cancelled)
  local reply = { status, settled, base }
  for i, m in ipairs(taken) do
    reply[2 + 2 * i] = m
    reply[3 + 2 * i] = flag_of(taken.raws[i], taken.expiries[i], now, cancelled_key, any_cancelled)
  end
  return reply
end

-- The answer to a call whose first reply was lost: everything unsettled, flags computed anew.
local function replay(settled, inflight_key, cancelled_key)
  local held, now = redis.call('LRANGE', inflight_key, 0, -1), now_ms()
  held.expiries, held.raws = {}, {}
  for i, m in ipairs(held) do
    local _, _, _, _, expires, raw = header(m)
    held.expiries[i], held.raws[i] = expires, raw
  end
  return answer('REPLAY', settled, settled, held, now, cancelled_key, redis.call('HLEN', cancelled_key) > 0)
end
