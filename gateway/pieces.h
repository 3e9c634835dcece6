/* An answer that comes piece by piece from the backend, for what is too long to be held in memory: the
 * export, and the lists of a long roll. A front asks for a piece, sends it, and asks for the next one when
 * the client has taken it; so the memory of one is that of a piece.
 *
 * Threading: the pieces are the backend's from rpc_loop_post until they come back, else the front's. */

#pragma once

#include "common/buffer.h"
#include "common/loop/loop.h"
#include "common/rpc/status.h"
#include "gateway/replica.h"
#include "gateway/views.h"

struct backend;
struct front;
struct http_exchange;
struct packer;
struct rpc_call;
struct subscriber;

struct pieces {
    struct loop_task back; /* first: how they come back */
    struct backend *backend;
    struct front *front;
    struct http_exchange *exchange; /* the front's */
    void (*next)(void *pieces);     /* posted to the backend's loop: fills in the next one */

    /* The front's. */
    bool begun;            /* the answer's head is sent */
    bool is_blocked;       /* the client has not taken the piece before */
    bool cancelled;        /* its word to the backend: the next one is the last */
    bool over;             /* the exchange is answered */
    struct packer *packer; /* NULL: the client takes no gzip */
    struct buffer packed;  /* the piece, if it does */

    /* The backend's: the last one, and how it ended. */
    bool complete;
    enum rpc_status status;
    char text[256];
    char etag[64]; /* with the first one; empty: none */
    struct buffer body;
};

/* front_pieces.c: answers with them, from malloc, and frees them. `back.run`, `backend` and `front` are set
 * here. */
void front_answer_with_pieces(struct front *front, struct http_exchange *exchange, struct pieces *pieces);

/* GET /api/admin/export. */
struct export
{
    struct pieces pieces;  /* first */
    struct rpc_call *call; /* NULL: it has ended, with the pieces' status and text */
    bool is_away;          /* the front has the piece */
    bool is_headed;        /* what stands before the first worker is written */
    uint64_t count;        /* workers until now */
};

void backend_run_export(void *export);

/* Rolls with more workers are listed piece by piece; and /ws/topology shows them so. */
#define LIST_WHOLE_WORKERS_MAX 10000
/* Workers in a piece: some two milliseconds. */
#define LIST_PIECE_WORKERS 250

/* GET /api/coordinator/workers, /api/admin/workers, /api/topology; and what follows the first message of
 * /ws/topology, each piece a message. */
struct list {
    struct pieces pieces; /* first */
    enum view view;
    struct subscriber *subscriber; /* the front's; NULL: it went away */
    struct replica_walk walk;
    bool walks; /* under way */
    bool comma; /* of the JSON writer, between pieces */
    bool in_connections;
    struct view_listed listed;
};

void backend_run_list(void *list);
void backend_run_topology_parts(void *list);
