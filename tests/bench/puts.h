/* Durable puts into etcd: what a registration is to Muster.
 *
 * KV.Put of one key after the other, worker-0000000, worker-0000001, …, each with the bytes that
 * the registration of that worker has. As registration_source, it hands the numbers out itself. */

#pragma once

#include "tests/bench/messages.h"

struct grpc_source put_source(struct registrations *registrations);
