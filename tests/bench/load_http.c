#include "tests/bench/load_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/buffer.h"

enum {
    HEAD_BYTES_MAX = 8192,
    ASK_TIMEOUT_S = 5,
};

struct connection {
    struct watch watch; /* first: the loop hands it back */
    struct http_load_run *run;
    size_t next_request;
    const char *request; /* the current one */
    size_t request_bytes;
    size_t unsent_from; /* offset in it; its length when all of it is sent */
    char *made;         /* the current one, when it was made for this; NULL otherwise */
    struct buffer head; /* an answer's head that came in pieces */
    size_t body_left;
    bool in_body;
    bool had_answer;
};

struct http_load_run {
    struct load load; /* first */
    const struct http_load *what;
    size_t begun; /* requests handed out, with a limit */
};

bool http_requests_make(struct http_requests *requests, char **texts, size_t count)
{
    size_t *lengths = calloc(count, sizeof *lengths);
    char **copy = calloc(count, sizeof *copy);
    if (lengths == NULL || copy == NULL) {
        free(lengths);
        free(copy);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        copy[i] = texts[i];
        lengths[i] = strlen(texts[i]);
    }
    *requests = (struct http_requests){copy, lengths, count};
    return true;
}

void http_requests_free(struct http_requests *requests)
{
    for (size_t i = 0; i < requests->count; i++)
        free(requests->texts[i]);
    free(requests->texts);
    free(requests->lengths);
    *requests = (struct http_requests){NULL, NULL, 0};
}

char *http_request_text(const char *method, const char *path, const char *json_body)
{
    struct buffer text = BUFFER_INIT;
    buffer_append_format(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n", method,
                         path);
    if (json_body != NULL)
        buffer_append_format(&text, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                             strlen(json_body), json_body);
    else
        buffer_append_text(&text, "\r\n");
    return buffer_take(&text);
}

/* What a complete head says; false when it is not one that the load can count. */
static bool read_head(const char *head, size_t bytes, unsigned *status, size_t *body_bytes)
{
    if (bytes < 16 || memcmp(head, "HTTP/1.1 ", 9) != 0)
        return false;
    *status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (head[i] < '0' || head[i] > '9')
            return false;
        *status = *status * 10 + (unsigned)(head[i] - '0');
    }
    const char *end = head + bytes;
    for (const char *line = memchr(head, '\n', bytes); line != NULL; line = memchr(line, '\n', (size_t)(end - line))) {
        line++;
        if (end - line > 15 && (*line == 'c' || *line == 'C') && strncasecmp(line, "content-length:", 15) == 0) {
            *body_bytes = strtoul(line + 15, NULL, 10);
            return true;
        }
    }
    return false;
}

static void send_rest(struct connection *connection)
{
    if (connection->unsent_from == connection->request_bytes)
        return;
    connection->unsent_from +=
        load_send(&connection->run->load, &connection->watch, connection->request + connection->unsent_from,
                  connection->request_bytes - connection->unsent_from);
}

static bool make_request(struct connection *connection)
{
    struct http_load_run *run = connection->run;
    free(connection->made);
    connection->request = connection->made = run->what->make(run->what->context);
    connection->request_bytes = connection->made == NULL ? 0 : strlen(connection->made);
    if (connection->made == NULL)
        load_fail(&run->load, "out of memory");
    return connection->made != NULL && load_wants_more(&run->load);
}

/* Picks the connection's next request; false when there is to be no more. With a limit the
 * requests are handed out in their order, each as often as the limit says. */
static bool pick_request(struct connection *connection, bool first)
{
    struct http_load_run *run = connection->run;
    const struct load_plan *plan = run->load.plan;
    const struct http_requests *requests = run->what->requests;
    connection->unsent_from = 0;
    if (run->what->make != NULL)
        return make_request(connection);
    if (plan->limit > 0) {
        if (run->begun == plan->limit) {
            connection->request_bytes = 0;
            return false;
        }
        connection->next_request = run->begun++ % requests->count;
    } else if (!first) {
        connection->next_request = (connection->next_request + plan->connections) % requests->count;
    }
    connection->request = requests->texts[connection->next_request];
    connection->request_bytes = requests->lengths[connection->next_request];
    return load_wants_more(&run->load);
}

static void answer_complete(struct connection *connection)
{
    struct http_load_run *run = connection->run;
    connection->in_body = false;
    run->load.answered++;
    run->load.units++;
    if (!connection->had_answer) {
        connection->had_answer = true;
        run->load.first_answers++;
    }
    if (pick_request(connection, false))
        send_rest(connection);
}

/* Takes bytes of an answer's head; returns how many it used, 0 on failure. */
static size_t take_head(struct connection *connection, const char *bytes, size_t count)
{
    struct http_load_run *run = connection->run;
    const char *head = bytes;
    size_t head_bytes = count, before = connection->head.bytes;
    if (before > 0) {
        buffer_append(&connection->head, bytes, count);
        head = connection->head.data;
        head_bytes = connection->head.bytes;
    }
    const char *end = head != NULL ? memmem(head, head_bytes, "\r\n\r\n", 4) : NULL;
    if (end == NULL) {
        if (before == 0)
            buffer_append(&connection->head, bytes, count);
        if (connection->head.failed || connection->head.bytes > HEAD_BYTES_MAX) {
            load_fail(&run->load, "an answer's head without end");
            return 0;
        }
        return count;
    }
    size_t whole = (size_t)(end + 4 - head);
    unsigned status = 0;
    bool understood = read_head(head, whole, &status, &connection->body_left);
    buffer_clear(&connection->head);
    if (!understood || status != run->what->expected_status) {
        load_fail(&run->load, understood ? "an answer has status %u" : "an answer that cannot be counted (status %u)",
                  status);
        return 0;
    }
    connection->in_body = true;
    return whole - before;
}

static void take(struct connection *connection, const char *bytes, size_t count)
{
    struct http_load_run *run = connection->run;
    while (count > 0 && !run->load.failed) {
        size_t used;
        if (!connection->in_body) {
            used = take_head(connection, bytes, count);
            if (used == 0)
                return;
            if (!connection->had_answer && connection->in_body && connection->body_left <= count - used &&
                memmem(bytes + used, connection->body_left, run->what->expected_text,
                       strlen(run->what->expected_text)) == NULL)
                load_fail(&run->load, "an answer without %s", run->what->expected_text);
        } else {
            used = count < connection->body_left ? count : connection->body_left;
            connection->body_left -= used;
        }
        bytes += used;
        count -= used;
        if (connection->in_body && connection->body_left == 0)
            answer_complete(connection);
    }
}

static void ready(struct watch *watch, uint32_t events)
{
    struct connection *connection = (struct connection *)watch;
    struct http_load_run *run = connection->run;
    if (run->load.failed)
        return;
    if ((events & EPOLLOUT) != 0)
        send_rest(connection);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) == 0)
        return;
    size_t got;
    do {
        got = load_receive(&run->load, watch);
        take(connection, run->load.read_buffer, got);
    } while (got == LOAD_READ_BYTES && !run->load.failed);
}

static bool open_connection(struct load *load, struct watch *watch, unsigned number)
{
    struct connection *connection = (struct connection *)watch;
    connection->run = (struct http_load_run *)load;
    const struct http_requests *requests = connection->run->what->requests;
    connection->next_request = requests == NULL ? 0 : number % requests->count;
    (void)pick_request(connection, true); /* one too many for a limit just stays silent */
    return true;
}

static void close_connection(struct watch *watch)
{
    struct connection *connection = (struct connection *)watch;
    buffer_free(&connection->head);
    free(connection->made);
}

bool load_http(struct loop *loop, const struct load_plan *plan, const struct http_load *what,
               struct load_result *result, struct failure *failure)
{
    static const struct load_generator generator = {sizeof(struct connection), ready, open_connection,
                                                    close_connection};
    struct http_load_run run = {.load = {.plan = plan, .loop = loop, .failure = failure}, .what = what};
    return load_run(&run.load, &generator, result);
}

static bool ask_on(int descriptor, const char *request, unsigned *status, struct buffer *answer, size_t *body_from)
{
    size_t body_bytes = 0, length = strlen(request);
    *body_from = 0;
    if (send(descriptor, request, length, MSG_NOSIGNAL) != (ssize_t)length)
        return false;
    while (*body_from == 0 || answer->bytes < *body_from + body_bytes) {
        char piece[65536];
        ssize_t got = recv(descriptor, piece, sizeof piece, 0);
        if (got <= 0)
            return false;
        buffer_append(answer, piece, (size_t)got);
        if (buffer_failed(answer))
            return false;
        const char *end = *body_from == 0 ? memmem(answer->data, answer->bytes, "\r\n\r\n", 4) : NULL;
        if (end != NULL) {
            *body_from = (size_t)(end + 4 - answer->data);
            if (!read_head(answer->data, *body_from, status, &body_bytes))
                return false;
        }
    }
    return true;
}

bool http_ask(uint16_t port, const char *request, unsigned *status, char **body, struct failure *failure)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval timeout = {.tv_sec = ASK_TIMEOUT_S};
    struct buffer answer = BUFFER_INIT;
    size_t body_from = 0;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool done = descriptor >= 0 && setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0 &&
                connect(descriptor, (const struct sockaddr *)&address, sizeof address) == 0 &&
                ask_on(descriptor, request, status, &answer, &body_from);
    int reason = errno;
    if (descriptor >= 0)
        close(descriptor);
    if (body != NULL)
        *body = done ? strdup(answer.data + body_from) : NULL;
    buffer_free(&answer);
    return done ? true : fail(failure, "no answer to %.*s: %s", (int)strcspn(request, "\r"), request, strerror(reason));
}
