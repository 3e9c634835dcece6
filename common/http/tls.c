/* TLS on connections to upstreams, by OpenSSL on the same non-blocking sockets. */

#include "common/http/upstream.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static SSL_CTX *create_context(bool insecure)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        goto failed;
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    static const unsigned char protocols[] = "\x08http/1.1";
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_alpn_protos(context, protocols, sizeof protocols - 1) != 0)
        goto failed;
    if (!insecure) {
        if (SSL_CTX_set_default_verify_paths(context) != 1)
            goto failed;
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    return context;

failed:
    log_error("TLS cannot be set up", LOG_TEXT("error", ERR_reason_error_string(ERR_get_error())));
    SSL_CTX_free(context);
    return NULL;
}

void upstream_tls_context_free(void *context)
{
    SSL_CTX_free(context);
}

bool upstream_tls_start(struct upstream_connection *connection, const char *host)
{
    struct http_upstreams *upstreams = connection->upstreams;
    if (upstreams->tls_context == NULL)
        upstreams->tls_context = create_context(upstreams->config.tls_insecure);
    if (upstreams->tls_context == NULL)
        return false;
    SSL *tls = SSL_new(upstreams->tls_context);
    if (tls == NULL)
        return false;
    struct in6_addr literal;
    bool is_address = inet_pton(AF_INET, host, &literal) == 1 || inet_pton(AF_INET6, host, &literal) == 1;
    bool named = is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host) == 1
                            : SSL_set_tlsext_host_name(tls, host) == 1 && SSL_set1_host(tls, host) == 1;
    if (!named || SSL_set_fd(tls, connection->watch.descriptor) != 1) {
        SSL_free(tls);
        return false;
    }
    SSL_set_connect_state(tls);
    connection->tls = tls;
    return true;
}

void upstream_tls_free(void *tls)
{
    SSL_free(tls);
}

/* What a call that did not succeed means. OpenSSL reads and writes in either call: both
 * edges are awaited again. */
static int outcome(struct upstream_connection *connection, int result)
{
    switch (SSL_get_error(connection->tls, result)) {
    case SSL_ERROR_WANT_READ:
        connection->readable = false;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        connection->writable = false;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        connection->readable = false;
        return 1;
    default:
        ERR_clear_error();
        connection->readable = false;
        return -1;
    }
}

int upstream_tls_handshake(struct upstream_connection *connection)
{
    ERR_clear_error();
    int result = SSL_do_handshake(connection->tls);
    if (result == 1)
        return 1;
    return outcome(connection, result) == 0 ? 0 : -1;
}

ssize_t upstream_tls_receive(struct upstream_connection *connection, char *into, size_t room)
{
    ERR_clear_error();
    int received = SSL_read(connection->tls, into, (int)room);
    if (received > 0)
        return received;
    switch (outcome(connection, received)) {
    case 0:
        return -1;
    case 1:
        return 0;
    default:
        /* Without close_notify the end may be an attacker's: not a clean end. */
        return -2;
    }
}

size_t upstream_tls_send(struct upstream_connection *connection, const struct iovec *vectors, int count)
{
    size_t sent = 0;
    for (int i = 0; i < count; i++) {
        const char *data = vectors[i].iov_base;
        size_t left = vectors[i].iov_len;
        while (left > 0) {
            ERR_clear_error();
            int written = SSL_write(connection->tls, data, left > INT32_MAX ? INT32_MAX : (int)left);
            if (written <= 0) {
                if (outcome(connection, written) == 0)
                    connection->writable = false;
                else
                    connection->send_broken = true;
                return sent;
            }
            sent += (size_t)written;
            data += written;
            left -= (size_t)written;
        }
    }
    return sent;
}
