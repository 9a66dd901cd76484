-- Grants up to `want` tokens of one bucket, by this server's clock.
-- KEYS[1] the bucket: "debt last". ARGV: count, per, full, want.
-- A token is `per` units, each microsecond pays back `count` units, at most `full` units may be owed. All are integers
-- below 2^52, which Lua's numbers hold exactly; quotients of such are rounded to the right side of every integer.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local count, per = tonumber(ARGV[1]), tonumber(ARGV[2])
local full, want = tonumber(ARGV[3]), tonumber(ARGV[4])
local debt, last = 0, now
local known = redis.pcall('GET', KEYS[1])
if known then
  local owed, when
  if type(known) == 'string' then owed, when = string.match(known, '^(%d+) (%d+)$') end
  -- Something else under this name: nothing is granted.
  if not owed or #owed > 16 or #when > 16 then return {0, 1000000} end
  debt, last = tonumber(owed), tonumber(when)
end
-- A clock that was set back pays nothing back until it has caught up.
if now > last then
  if now - last >= math.ceil(debt / count) then debt = 0 else debt = debt - (now - last) * count end
  last = now
end
local granted = math.max(0, math.min(want, math.floor((full - debt) / per)))
if granted == 0 then return {0, math.max(1, math.ceil((debt + per - full) / count))} end
debt = debt + granted * per
local lives = math.ceil((debt / count + (last - now)) / 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.0f %.0f', debt, last), 'PX', string.format('%.0f', lives))
return {granted, 0}
