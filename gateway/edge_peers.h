/* Edge routers side by side tell each other of the coordinators that they have heard, so that each
 * can forward to all of them.
 *
 * Each one is given the URLs of the others (--peer). Every --peer-interval-seconds, and at once
 * when somebody has registered or said goodbye, it POSTs to each of them who was heard by itself,
 * with how long ago that was. What it knows from others it does not pass on: so nothing goes in
 * circles, and news has one step to go. Who receives it takes what is newer than what it has heard
 * itself: registers who is missing, keeps alive who is there, takes off who has gone. Ages are by
 * the sender's clock alone, so clocks need not agree.
 *
 * News is believed without a proof of its own. It is taken from who has the same --federation-key;
 * without a key only where private addresses are allowed as well (gateway.public_only is false).
 *
 * Threading: the rpc loop's thread. */

#pragma once

#include "gateway/backend.h"

#define EDGE_PEERS_MAX 32

bool edge_peers_start(struct backend *backend);
void edge_peers_stop(struct backend *backend);
void edge_peers_free(struct backend *backend);

/* A coordinator was heard here, or said goodbye here. */
void edge_peers_heard(struct backend *backend, const char *coordinator_id);
void edge_peers_gone(struct backend *backend, const char *coordinator_id);

/* Tells the others soon. */
void edge_peers_tell(struct backend *backend);

/* The job of POST /api/edge/peers. */
void backend_run_edge_peers(struct backend *backend, struct job *job);
