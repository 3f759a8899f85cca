// The store's transactions, run inside Redis: each is atomic, also in the append-only file. Keys of a run:
//   swerve:{RUN}:ids         hash   group → "attempt scene" of every group ever stored; stays after the acknowledgement
//   swerve:{RUN}:waiting     zset   groups not acknowledged, score 0: ordered as text, and so exact beyond 2^53
//   swerve:{RUN}:episodes    hash   group → bytes of what waits
//   swerve:{RUN}:bytes       text   sum of those bytes
//   swerve:{RUN}:difficulty  hash   scene → DifficultyRecord
//   swerve:{RUN}:done:N      text   a difficulty update that was made, for as long as it may be repeated
//   swerve:{RUN}:owner       text   which run directory the run belongs to
// A group is written as 16 hex digits.
#ifndef SWERVE_BUFFERS_REDIS_SCRIPTS_H_
#define SWERVE_BUFFERS_REDIS_SCRIPTS_H_

namespace swerve {

// Keys ids, waiting, episodes, bytes; arguments group, "attempt scene", bytes, limit of waiting bytes.
// 1: stored. 0: stored before. Text: what the group's place holds instead. {n}: full, n bytes wait.
// Redis itself refuses it (OOM) at maxmemory.
inline constexpr char kAppendScript[] = R"lua(#!lua
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held == ARGV[2] then return 0 end
if held then return held end
local waiting = tonumber(redis.call('GET', KEYS[4]) or '0')
if waiting + #ARGV[3] > tonumber(ARGV[4]) then return {waiting} end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('INCRBY', KEYS[4], #ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) -- last: a script that fails above counts as not stored
return 1
)lua";

// The same keys; arguments groups. 1: acknowledged. Text: a group that was never stored; nothing was done.
// Allowed at maxmemory, since it makes room.
inline constexpr char kAckScript[] = R"lua(#!lua flags=allow-oom
for i = 1, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then return ARGV[i] end
end
local freed = 0
for i = 1, #ARGV do
  if redis.call('ZREM', KEYS[2], ARGV[i]) == 1 then
    freed = freed + redis.call('HSTRLEN', KEYS[3], ARGV[i])
    redis.call('HDEL', KEYS[3], ARGV[i])
  end
end
if freed > 0 then redis.call('DECRBY', KEYS[4], freed) end
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
