/* Answers in pieces on the front's side; see pieces.h. */

#include <stdlib.h>

#include "gateway/backend.h"
#include "gateway/front.h"
#include "gateway/packer.h"
#include "gateway/pieces.h"

static void ask_next(struct pieces *pieces)
{
    rpc_loop_post(pieces->front->gateway->rpc_loop, pieces->next, pieces);
}

static void writable(void *context, struct http_exchange *exchange)
{
    struct pieces *pieces = context;
    (void)exchange;
    if (!pieces->is_blocked)
        return;
    pieces->is_blocked = false;
    ask_next(pieces);
}

/* While the backend has the pieces they are not touched: the next one that comes sees it. */
static void client_gone(void *context, struct http_exchange *exchange)
{
    struct pieces *pieces = context;
    if (pieces->is_blocked)
        pieces->cancelled = true;
    writable(context, exchange);
}

static void free_pieces(struct pieces *pieces)
{
    atomic_fetch_sub_explicit(&pieces->front->gateway->jobs, 1, memory_order_relaxed);
    buffer_free(&pieces->body);
    buffer_free(&pieces->packed);
    packer_destroy(pieces->packer);
    free(pieces);
}

/* What the client is to be sent of the piece; false when memory ran out. */
static bool pack(struct pieces *pieces)
{
    if (pieces->packer == NULL)
        return !buffer_failed(&pieces->body);
    buffer_clear(&pieces->packed);
    return !buffer_failed(&pieces->body) &&
           packer_add(pieces->packer, pieces->body.data, pieces->body.bytes, pieces->complete, &pieces->packed);
}

/* Sends it. False: the client has not taken it yet, and `writable` will tell. */
static bool write_piece(struct pieces *pieces)
{
    const struct buffer *piece = pieces->packer != NULL ? &pieces->packed : &pieces->body;
    return piece->bytes == 0 || http_response_write(pieces->exchange, piece->data, piece->bytes);
}

/* The last one has come. */
static void end(struct pieces *pieces)
{
    if (pieces->over) {
        /* It was answered without them. */
    } else if (pieces->status == RPC_OK && pack(pieces)) {
        (void)write_piece(pieces);
        http_response_end(pieces->exchange);
    } else if (pieces->begun) {
        http_exchange_abort(pieces->exchange); /* so that the client sees that something is missing */
    } else if (pieces->status == RPC_OK) {
        front_fail(pieces->front, pieces->exchange, ERROR_INTERNAL, "out of memory");
    } else {
        front_fail(pieces->front, pieces->exchange, error_of_status(pieces->status), "%s", pieces->text);
    }
    free_pieces(pieces);
}

static void begin(struct pieces *pieces)
{
    const struct http_head *head = http_exchange_head(pieces->exchange);
    struct answer answer = {.status = 200, .etag = pieces->etag[0] == '\0' ? NULL : pieces->etag};
    pieces->begun = true;
    if (answer.etag == NULL || !front_client_has_it(head, answer.etag)) {
        if (http_head_accepts_coding(head, "gzip"))
            pieces->packer = packer_create(); /* without memory: as it is */
        answer.packed = pieces->packer != NULL;
        front_answer_begin(pieces->front, pieces->exchange, &answer);
        return;
    }
    pieces->over = true;
    answer.status = 304;
    front_answer(pieces->front, pieces->exchange, &answer);
}

static void piece_arrived(struct loop_task *task)
{
    struct pieces *pieces = (struct pieces *)task;
    bool fine = (!pieces->complete || pieces->status == RPC_OK) && !buffer_failed(&pieces->body);
    if (fine && !pieces->begun)
        begin(pieces);
    if (pieces->complete) {
        end(pieces);
        return;
    }
    if (pieces->over || http_exchange_client_is_gone(pieces->exchange) || !fine || !pack(pieces)) {
        pieces->cancelled = true; /* the last one follows */
        ask_next(pieces);
        return;
    }
    pieces->is_blocked = !write_piece(pieces);
    if (pieces->is_blocked && http_exchange_client_is_gone(pieces->exchange)) {
        pieces->is_blocked = false; /* it went inside the write: nobody tells us again */
        pieces->cancelled = true;
    }
    if (!pieces->is_blocked)
        ask_next(pieces);
}

void front_answer_with_pieces(struct front *front, struct http_exchange *exchange, struct pieces *pieces)
{
    pieces->back.run = piece_arrived;
    pieces->backend = front->gateway->backend;
    pieces->front = front;
    pieces->exchange = exchange;
    http_response_on_writable(exchange, writable, pieces);
    http_exchange_on_client_gone(exchange, client_gone, pieces);
    atomic_fetch_add_explicit(&front->gateway->jobs, 1, memory_order_relaxed);
    ask_next(pieces);
}

void front_handle_export(struct front *front, struct http_exchange *exchange)
{
    struct export *export = calloc(1, sizeof *export);
    if (export == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    export->pieces.next = backend_run_export;
    front_answer_with_pieces(front, exchange, &export->pieces);
}

void front_answer_with_list(struct front *front, struct http_exchange *exchange, enum view view)
{
    struct list *list = calloc(1, sizeof *list);
    if (list == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    list->view = view;
    list->pieces.next = backend_run_list;
    front_answer_with_pieces(front, exchange, &list->pieces);
}
