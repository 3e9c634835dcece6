/* GET /api/admin/export on the front's side; see import.h. */

#include <stdlib.h>
#include <string.h>

#include "gateway/backend.h"
#include "gateway/front.h"
#include "gateway/import.h"

static void ask_next(struct export_piece *piece)
{
    rpc_loop_post(piece->front->gateway->rpc_loop, backend_continue_export, piece);
}

static void writable(void *context, struct http_exchange *exchange)
{
    struct export_piece *piece = context;
    (void)exchange;
    if (!piece->is_blocked)
        return;
    piece->is_blocked = false;
    ask_next(piece);
}

/* Otherwise the next piece that comes sees it. */
static void client_gone(void *context, struct http_exchange *exchange)
{
    struct export_piece *piece = context;
    piece->cancelled = piece->is_blocked;
    writable(context, exchange);
}

static void free_piece(struct export_piece *piece)
{
    atomic_fetch_sub_explicit(&piece->front->gateway->jobs, 1, memory_order_relaxed);
    buffer_free(&piece->body);
    free(piece);
}

/* The registry's last word has come. */
static void end(struct export_piece *piece)
{
    if (piece->status == RPC_OK && !buffer_failed(&piece->body)) {
        (void)http_response_write(piece->exchange, piece->body.data, piece->body.bytes);
        http_response_end(piece->exchange);
    } else if (piece->begun) {
        http_exchange_abort(piece->exchange); /* so that the client sees that something is missing */
    } else if (piece->status == RPC_OK) {
        front_fail(piece->front, piece->exchange, ERROR_INTERNAL, "out of memory");
    } else {
        enum error_id error = error_of_status(piece->status);
        front_fail(piece->front, piece->exchange, error, "the registry cannot be read (%s); try again in a moment",
                   piece->text);
    }
    free_piece(piece);
}

static void piece_arrived(struct loop_task *task)
{
    struct export_piece *piece = (struct export_piece *)task;
    bool fine = (!piece->complete || piece->status == RPC_OK) && !buffer_failed(&piece->body);
    if (fine && !piece->begun) {
        piece->begun = true;
        front_answer_begin(piece->front, piece->exchange, &(struct answer){.status = 200});
    }
    if (piece->complete) {
        end(piece);
        return;
    }
    if (http_exchange_client_is_gone(piece->exchange) || !fine) {
        piece->cancelled = true; /* the last piece follows */
        ask_next(piece);
        return;
    }
    piece->is_blocked = !http_response_write(piece->exchange, piece->body.data, piece->body.bytes);
    if (piece->is_blocked && http_exchange_client_is_gone(piece->exchange)) {
        piece->is_blocked = false; /* it went inside the write: nobody tells us again */
        piece->cancelled = true;
    }
    if (!piece->is_blocked)
        ask_next(piece);
}

void front_handle_export(struct front *front, struct http_exchange *exchange)
{
    struct export_piece *piece = calloc(1, sizeof *piece);
    if (piece == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    piece->back.run = piece_arrived;
    piece->backend = front->gateway->backend;
    piece->front = front;
    piece->exchange = exchange;
    http_response_on_writable(exchange, writable, piece);
    http_exchange_on_client_gone(exchange, client_gone, piece);
    atomic_fetch_add_explicit(&front->gateway->jobs, 1, memory_order_relaxed);
    rpc_loop_post(front->gateway->rpc_loop, backend_run_export, piece);
}
