// The store's transactions, run inside Redis: each is atomic, also in the append-only file. Keys of a run:
//   swerve:{RUN}:ids         hash   GROUP → "size attempt scene" of every group ever stored; stays when acknowledged
//   swerve:{RUN}:waiting     zset   NAMEs of what is not acknowledged, score 0: ordered as text, so exact beyond 2^53
//   swerve:{RUN}:e:NAME      text   bytes of what waits
//   swerve:{RUN}:bytes       text   sum of those bytes
//   swerve:{RUN}:difficulty  hash   scene → DifficultyRecord
//   swerve:{RUN}:done:N      text   a difficulty update that was made, for as long as it may be repeated
//   swerve:{RUN}:owner       text   which run directory the run belongs to
// GROUP is 16 hex digits, NAME is "GROUP attempt scene": two attempts never write the same bytes. The braces keep all
// keys of a run in one slot, so that scripts may make up names.
#ifndef SWERVE_BUFFERS_REDIS_SCRIPTS_H_
#define SWERVE_BUFFERS_REDIS_SCRIPTS_H_

namespace swerve {

// Takes in what the same transaction has SET at e:NAME before (NX: what waits there stays), so that no episode's bytes
// pass through Lua. Keys ids, waiting, bytes, e: (a beginning); arguments: limit of waiting bytes, then of each episode
// GROUP, "attempt scene", size. An answer for each: 1: stored. 0: stored before. Text: what the group's place holds
// instead. {n}: full, n bytes wait. What is not stored leaves nothing at e:NAME. At maxmemory Redis itself refuses the
// transaction (OOM).
// A script that fails (the server had forgotten it, say) has stored nothing: a group counts once it stands in ids, which
// comes last. Bytes that are left at e:NAME then are that attempt's, and its repeat takes them over.
inline constexpr char kAppendScript[] = R"lua(#!lua
local limit, n, groups = tonumber(ARGV[1]), (#ARGV - 1) / 3, {}
for i = 1, n do groups[i] = ARGV[3 * i - 1] end
local held = redis.call('HMGET', KEYS[1], unpack(groups))
local waiting = tonumber(redis.call('GET', KEYS[3]) or '0')
local before, now, refused, scores, ids, answers, dropped = waiting, {}, {}, {}, {}, {}, {}
for i = 1, n do
  local group, id, size = groups[i], ARGV[3 * i], tonumber(ARGV[3 * i + 1])
  local name, holder = group .. ' ' .. id, held[i] and string.match(held[i], '^%d+ (.*)$') or now[group]
  if holder == id then
    answers[i] = 0
    if held[i] and not redis.call('ZSCORE', KEYS[2], name) then dropped[#dropped + 1] = KEYS[4] .. name end
  elseif not holder and not refused[group] and waiting + size <= limit then
    answers[i] = 1
    waiting = waiting + size
    now[group] = id
    scores[#scores + 1], scores[#scores + 2] = 0, name
    ids[#ids + 1], ids[#ids + 2] = group, ARGV[3 * i + 1] .. ' ' .. id
  else
    answers[i] = holder or {waiting}
    refused[group] = true
    dropped[#dropped + 1] = KEYS[4] .. name
  end
end
if #dropped > 0 then redis.call('DEL', unpack(dropped)) end
if #ids > 0 then
  redis.call('ZADD', KEYS[2], unpack(scores))
  redis.call('INCRBY', KEYS[3], waiting - before)
  redis.call('HSET', KEYS[1], unpack(ids))
end
return answers
)lua";

// Keys ids, waiting, bytes, e:; arguments groups. 1: acknowledged. Text: a group that was never stored; nothing was
// done. Allowed at maxmemory, since it makes room.
inline constexpr char kAckScript[] = R"lua(#!lua flags=allow-oom
local chunk, names, sizes = 1000, {}, {} -- unpack takes about 8000
for from = 1, #ARGV, chunk do
  local held = redis.call('HMGET', KEYS[1], unpack(ARGV, from, math.min(from + chunk - 1, #ARGV)))
  for i = 1, #held do
    local group = ARGV[from + i - 1]
    if not held[i] then return group end
    local size, id = string.match(held[i], '^(%d+)( .*)$')
    names[from + i - 1], sizes[from + i - 1] = group .. id, size
  end
end
for from = 1, #names, chunk do
  local waits = redis.call('ZMSCORE', KEYS[2], unpack(names, from, math.min(from + chunk - 1, #names)))
  local gone, episodes, freed, seen = {}, {}, 0, {}
  for i = 1, #waits do
    local name = names[from + i - 1]
    if waits[i] and not seen[name] then
      seen[name] = true
      gone[#gone + 1] = name
      episodes[#episodes + 1] = KEYS[4] .. name
      freed = freed + sizes[from + i - 1]
    end
  end
  if #gone > 0 then
    redis.call('DECRBY', KEYS[3], freed)
    redis.call('ZREM', KEYS[2], unpack(gone))
    redis.call('DEL', unpack(episodes))
  end
end
return 1
)lua";

// Keys ids, waiting. {groups ever stored, groups waiting}.
inline constexpr char kStatsScript[] = R"lua(#!lua flags=no-writes
return {redis.call('HLEN', KEYS[1]), redis.call('ZCARD', KEYS[2])}
)lua";

// Keys difficulty, done; arguments scene, record expected ('' for none), new record, seconds to remember the update.
// 1: made, now or before. 0: the record is another meanwhile.
inline constexpr char kUpdateScript[] = R"lua(#!lua
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('SET', KEYS[2], '1', 'EX', ARGV[4])
return 1
)lua";

}  // namespace swerve

#endif  // SWERVE_BUFFERS_REDIS_SCRIPTS_H_
