/* The Lua scripts that store_redis.c has Redis run; each is one atomic step. KEYS of all of them
 * are PREFIX:workers, PREFIX:meta and PREFIX:undo.
 *
 * Each answers "ok", or "fenced" when another registry owns the prefix, or "lost" when the commits
 * that Redis has are not those that the caller knows. */

#pragma once

/* ARGV: owner. Makes the caller the owner; answers the number of the last commit as text, or
 * "format" when the keys were written by another version. */
extern const char redis_script_own[];

/* ARGV: owner, number of the last commit, number of this one, revision_ceiling,
 * incarnation_floor, how many puts; then id and value of each put, then the ids of removals. */
extern const char redis_script_commit[];

/* ARGV: owner, number of a commit, number of the one before. Takes the commit back if it is the
 * last, and does nothing if the one before is. */
extern const char redis_script_undo[];
