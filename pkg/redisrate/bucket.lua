-- The arithmetic of rate.State on Redis' own clock, in one step for all replicas.
-- What it computes, and why, is said in pkg/rate; TestScriptAndReferenceAgree keeps
-- the two alike. The order of operations matters: both round the same way.
--
-- KEYS[1]  the target's hash:
--            s   grants so far          t   when the levels held, us
--            h   end of the pause, us   pl, pa, pr   the pace: lowered, at, refused at
--            w<us>   tokens of the window of that length
-- ARGV     1 operation: take, hold, look, release
--          2 greatest s that the caller has seen
--          3 ms to keep the hash    4 number of windows
--          for each window: field, capacity, tokens/us, floors of urgent, normal, bulk
--          take: lane and cost of each demand       hold: pause in us, 1 after a refusal
-- Returns  granted, delay us, wait us, held us, 1 if lost, s, factor, level of each window

local settle, sustained, climb = 5e6, 900e6, 1800e6
local falls, least = 0.7, 0.05

local operation, seen, keep, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1e6 + tonumber(time[2])

local windows, fields = {}, {'s', 't', 'h', 'pl', 'pa', 'pr'}
local arg = 5
for i = 1, count do
  windows[i] = {
    field = ARGV[arg], capacity = tonumber(ARGV[arg + 1]), refill = tonumber(ARGV[arg + 2]),
    floors = {tonumber(ARGV[arg + 3]), tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5])},
  }
  fields[6 + i] = ARGV[arg]
  arg = arg + 6
end

-- Load and verify.
local stored = redis.call('HMGET', KEYS[1], unpack(fields))
local function number(i) return tonumber(stored[i] or '') or 0 end
local seq, at, hold, lowered, climbs, refused = number(1), number(2), number(3), number(4), number(5), number(6)
local lost = seq < seen
if lost then seq = seen end
for i, w in ipairs(windows) do
  w.known = stored[6 + i] and not lost
  w.level = w.known and number(6 + i) or 0
end

-- A clock that went back takes its future with it.
if now < at then
  local back = at - now
  at = now
  hold = math.max(0, hold - back)
  climbs = math.max(0, climbs - back)
  if refused ~= 0 then refused = math.max(1, refused - back) end
end

local function factor()
  return 1 - math.max(0, lowered - math.max(0, now - climbs) / climb)
end

local function advance()
  local elapsed, share = now - at, factor()
  if at == 0 then elapsed = 0 end
  for _, w in ipairs(windows) do
    if w.known then w.level = math.min(w.capacity, w.level + elapsed * w.refill * share) end
  end
  at = now
end

local function wait(lane, cost, share)
  local longest = 0
  for _, w in ipairs(windows) do
    local missing = math.min(cost + w.floors[lane + 1], w.capacity) - w.level
    if missing > 0 then longest = math.max(longest, missing / (w.refill * share)) end
  end
  return math.ceil(longest)
end

local function pay(cost, share)
  local longest = 0
  for _, w in ipairs(windows) do
    local rest = cost - w.capacity
    if rest > 0 then longest = math.max(longest, math.ceil(rest / (w.refill * share))) end
  end
  for _, w in ipairs(windows) do
    local gained = longest * w.refill * share
    w.level = math.min(w.capacity, w.level + gained) - cost - gained
  end
  return longest
end

-- tostring would keep 14 digits only: too few for the time, and it over-grants.
local function whole(n) return string.format('%.0f', n) end
local function exact(n) return string.format('%.17g', n) end

local function save(with_levels)
  local values = {'s', whole(seq), 't', whole(at), 'h', whole(hold), 'pl', exact(lowered), 'pa', whole(climbs), 'pr', whole(refused)}
  if with_levels then
    for _, w in ipairs(windows) do
      values[#values + 1] = w.field
      values[#values + 1] = exact(w.level)
    end
  end
  redis.call('HSET', KEYS[1], unpack(values))
  redis.call('PEXPIRE', KEYS[1], whole(keep + math.max(0, math.ceil((hold - now) / 1000))))
end

local granted, delay, rest = 0, 0, 0
if operation == 'take' then
  advance()
  local share, held = factor(), math.max(0, hold - now)
  while arg <= #ARGV do
    local lane, cost = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
    rest = math.max(held, wait(lane, cost, share))
    if rest > 0 then break end
    granted, seq, arg = granted + 1, seq + 1, arg + 2
    delay = pay(cost, share)
    if delay > 0 then
      if arg <= #ARGV then rest = wait(tonumber(ARGV[arg]), tonumber(ARGV[arg + 1]), share) end
      break
    end
  end
  save(true)
elseif operation == 'hold' then
  local before = hold
  hold = math.max(before, now + tonumber(ARGV[arg]))
  if ARGV[arg + 1] == '1' then
    if now < before or (refused ~= 0 and now < refused + settle) then
      climbs = math.max(climbs, hold)
    else
      local share = factor()
      if refused ~= 0 and now < math.max(refused, before) + sustained then share = math.max(least, share * falls) end
      lowered, climbs, refused = 1 - share, hold, now
    end
  end
  save(false)
elseif operation == 'release' then
  hold, lowered, climbs, refused = 0, 0, 0, 0
  save(false)
else
  advance()
end

local answer = {
  whole(granted), whole(delay), whole(rest), whole(math.max(0, hold - now)), lost and '1' or '0', whole(seq), exact(factor()),
}
for _, w in ipairs(windows) do answer[#answer + 1] = exact(w.level) end
return answer
