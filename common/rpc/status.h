/* Status codes of gRPC: how a call ended. The numbers are those on the wire.
 *
 * Which to use: INVALID_ARGUMENT the request is wrong whatever the state (name the field);
 * FAILED_PRECONDITION it is wrong in this state; NOT_FOUND, ALREADY_EXISTS for things;
 * RESOURCE_EXHAUSTED a limit or quota; UNAVAILABLE try again soon, nothing was done;
 * ABORTED try again from the start; INTERNAL our own fault.
 *
 * Threading: any. */

#pragma once

enum rpc_status {
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_UNKNOWN = 2,
    RPC_INVALID_ARGUMENT = 3,
    RPC_DEADLINE_EXCEEDED = 4,
    RPC_NOT_FOUND = 5,
    RPC_ALREADY_EXISTS = 6,
    RPC_PERMISSION_DENIED = 7,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_FAILED_PRECONDITION = 9,
    RPC_ABORTED = 10,
    RPC_OUT_OF_RANGE = 11,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_DATA_LOSS = 15,
    RPC_UNAUTHENTICATED = 16,
};

/* "NOT_FOUND"; "UNKNOWN" for a number that is none of them. A constant. */
const char *rpc_status_name(enum rpc_status status);
