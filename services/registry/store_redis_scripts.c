/* The Lua scripts; see store_redis_scripts.h. */

#include "services/registry/store_redis_scripts.h"

const char redis_script_own[] = "local format = redis.call('HGET', KEYS[2], 'format')\n"
                                "if format and format ~= '1' then return 'format' end\n"
                                "redis.call('HSET', KEYS[2], 'format', '1', 'owner', ARGV[1])\n"
                                "redis.call('HSETNX', KEYS[2], 'commit', '0')\n"
                                "return redis.call('HGET', KEYS[2], 'commit')\n";

/* Redis refuses a script for lack of memory at its first write if that is one that may take some:
 * so "begun" comes before the removal. What is needed to take the commit back is written before anything is changed,
 * and the number right after it: if Redis should fail in the middle of a script, that can be taken back, too. */
const char redis_script_commit[] =
    "local meta = redis.call('HMGET', KEYS[2], 'owner', 'commit', 'revision_ceiling', 'incarnation_floor')\n"
    "if not meta[1] then return 'lost' end\n"
    "if meta[1] ~= ARGV[1] then return 'fenced' end\n"
    "if meta[2] ~= ARGV[2] then return 'lost' end\n"
    "redis.call('HSET', KEYS[2], 'begun', ARGV[3])\n"
    "redis.call('DEL', KEYS[3])\n"
    "local puts = tonumber(ARGV[6])\n"
    "local function remember(id)\n"
    "    local old = redis.call('HGET', KEYS[1], id)\n"
    "    redis.call('HSET', KEYS[3], id, old and 'P' .. old or 'A')\n"
    "end\n"
    "for i = 1, puts do remember(ARGV[5 + 2 * i]) end\n"
    "for i = 7 + 2 * puts, #ARGV do remember(ARGV[i]) end\n"
    "redis.call('HSET', KEYS[2], 'commit', ARGV[3], 'undo_ceiling', meta[3] or '0', 'undo_floor', meta[4] or '0')\n"
    "for i = 1, puts do redis.call('HSET', KEYS[1], ARGV[5 + 2 * i], ARGV[6 + 2 * i]) end\n"
    "for i = 7 + 2 * puts, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end\n"
    "redis.call('HSET', KEYS[2], 'revision_ceiling', ARGV[4], 'incarnation_floor', ARGV[5])\n"
    "return 'ok'\n";

const char redis_script_undo[] =
    "local meta = redis.call('HMGET', KEYS[2], 'owner', 'commit', 'undo_ceiling', 'undo_floor')\n"
    "if not meta[1] then return 'lost' end\n"
    "if meta[1] ~= ARGV[1] then return 'fenced' end\n"
    "if meta[2] == ARGV[3] then return 'ok' end\n"
    "if meta[2] ~= ARGV[2] then return 'lost' end\n"
    "local undo = redis.call('HGETALL', KEYS[3])\n"
    "for i = 1, #undo, 2 do\n"
    "    if undo[i + 1] == 'A' then redis.call('HDEL', KEYS[1], undo[i])\n"
    "    else redis.call('HSET', KEYS[1], undo[i], string.sub(undo[i + 1], 2)) end\n"
    "end\n"
    "redis.call('HSET', KEYS[2], 'commit', ARGV[3], 'revision_ceiling', meta[3], 'incarnation_floor', meta[4])\n"
    "return 'ok'\n";
