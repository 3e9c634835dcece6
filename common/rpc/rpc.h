/* gRPC for C: protobuf-c messages over gRPC core, asynchronous, one thread.
 *
 *     loop.h     the thread that owns everything: timers, posts, end of turn
 *     call.h     a call, at either end: send, receive, finish, metadata
 *     server.h   serving protobuf-c service descriptors; health and reflection come along
 *     client.h   channels, unary and streaming calls, streams that are kept up
 *     status.h   status codes
 *
 * No header here shows a type of gRPC core: what transports the calls can be exchanged.
 * README.md has a server and a client in thirty lines each. */

#pragma once

#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "common/rpc/loop.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
