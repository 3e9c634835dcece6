#include "common/http/resolver.h"

#include "common/clock.h"
#include "common/map.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CACHE_ENTRIES_MAX 4096 /* then all are forgotten: simple, and rare */

struct http_resolve_job {
    struct loop_task task; /* first: the callback casts */
    struct http_resolve_job *next;
    struct http_resolver *resolver;
    struct loop *loop; /* NULL: cancelled while the thread had it. Guarded by the resolver's lock */
    bool posted;       /* guarded likewise */
    void (*done)(void *context, const struct http_addresses *addresses); /* NULL: cancelled after posting */
    void *context;
    struct http_addresses addresses;
    char host[HTTP_ORIGIN_HOST_BYTES];
};

struct cached {
    uint64_t expires_at_ms;
    struct http_addresses addresses;
    char host[HTTP_ORIGIN_HOST_BYTES];
};

struct http_resolver {
    uint32_t cache_ms;
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wanted;
    struct http_resolve_job *first, *last;
    struct map cache;
    bool stopping;
};

/* Resolves literal addresses and "localhost"; false for any other name. */
static bool resolve_literal(const char *host, struct http_addresses *addresses)
{
    memset(addresses, 0, sizeof *addresses);
    struct sockaddr_in *v4 = (struct sockaddr_in *)&addresses->list[0];
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&addresses->list[0];
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        addresses->count = 1;
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        addresses->count = 1;
        return true;
    }
    if (strcmp(host, "localhost") != 0)
        return false;
    v4->sin_family = AF_INET;
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6 = (struct sockaddr_in6 *)&addresses->list[1];
    v6->sin6_family = AF_INET6;
    v6->sin6_addr = in6addr_loopback;
    addresses->count = 2;
    return true;
}

static void look_up(const char *host, struct http_addresses *addresses)
{
    memset(addresses, 0, sizeof *addresses);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return; /* unknown, or no name server answers: the same to the caller */
    for (const struct addrinfo *address = found; address != NULL && addresses->count < HTTP_ADDRESSES_MAX;
         address = address->ai_next)
        memcpy(&addresses->list[addresses->count++], address->ai_addr, address->ai_addrlen);
    freeaddrinfo(found);
}

static void forget_all(struct http_resolver *resolver)
{
    size_t position = 0;
    struct cached *cached;
    while ((cached = map_next(&resolver->cache, &position)) != NULL)
        free(cached);
    map_free(&resolver->cache);
}

/* Without memory nothing is remembered, and the name is looked up again. */
static void remember(struct http_resolver *resolver, const char *host, const struct http_addresses *addresses)
{
    if (resolver->cache.count >= CACHE_ENTRIES_MAX)
        forget_all(resolver);
    struct cached *cached = malloc(sizeof *cached);
    if (cached == NULL)
        return;
    cached->expires_at_ms =
        clock_monotonic_ms() + (addresses->count > 0 ? resolver->cache_ms : resolver->cache_ms / 10);
    cached->addresses = *addresses;
    memcpy(cached->host, host, sizeof cached->host);
    void *old = NULL;
    if (map_put_text(&resolver->cache, cached->host, cached, &old))
        free(old);
    else
        free(cached);
}

static bool recall(struct http_resolver *resolver, const char *host, struct http_addresses *addresses)
{
    const struct cached *cached = map_get_text(&resolver->cache, host);
    if (cached == NULL || cached->expires_at_ms <= clock_monotonic_ms())
        return false;
    *addresses = cached->addresses;
    return true;
}

static void deliver(struct loop_task *task)
{
    struct http_resolve_job *job = (struct http_resolve_job *)task;
    if (job->done != NULL)
        job->done(job->context, &job->addresses);
    free(job);
}

static void *run(void *argument)
{
    struct http_resolver *resolver = argument;
    pthread_mutex_lock(&resolver->lock);
    for (;;) {
        while (resolver->first == NULL && !resolver->stopping)
            pthread_cond_wait(&resolver->wanted, &resolver->lock);
        struct http_resolve_job *job = resolver->first;
        if (resolver->stopping || job == NULL)
            break;
        resolver->first = job->next;
        if (resolver->first == NULL)
            resolver->last = NULL;
        /* Many wait for one name when a fleet starts: the first has answered for all. */
        if (job->loop != NULL && !recall(resolver, job->host, &job->addresses)) {
            pthread_mutex_unlock(&resolver->lock);
            look_up(job->host, &job->addresses);
            pthread_mutex_lock(&resolver->lock);
            remember(resolver, job->host, &job->addresses);
        }
        if (job->loop == NULL) {
            free(job);
            continue;
        }
        job->posted = true;
        job->task.run = deliver;
        loop_post(job->loop, &job->task);
    }
    pthread_mutex_unlock(&resolver->lock);
    return NULL;
}

struct http_resolver *http_resolver_create(uint32_t cache_ms)
{
    struct http_resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL)
        return NULL;
    resolver->cache_ms = cache_ms != 0 ? cache_ms : 30000;
    pthread_mutex_init(&resolver->lock, NULL);
    pthread_cond_init(&resolver->wanted, NULL);
    /* Signals are for the process's own threads: this one inherits a mask of all. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&resolver->thread, NULL, run, resolver);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        free(resolver);
        return NULL;
    }
    return resolver;
}

void http_resolver_destroy(struct http_resolver *resolver)
{
    if (resolver == NULL)
        return;
    pthread_mutex_lock(&resolver->lock);
    resolver->stopping = true;
    pthread_cond_signal(&resolver->wanted);
    pthread_mutex_unlock(&resolver->lock);
    pthread_join(resolver->thread, NULL);
    while (resolver->first != NULL) {
        struct http_resolve_job *job = resolver->first;
        resolver->first = job->next;
        free(job);
    }
    forget_all(resolver);
    pthread_cond_destroy(&resolver->wanted);
    pthread_mutex_destroy(&resolver->lock);
    free(resolver);
}

bool http_resolve(struct http_resolver *resolver, struct loop *loop, const char *host, struct http_addresses *addresses,
                  struct http_resolve_job **job, void (*done)(void *context, const struct http_addresses *addresses),
                  void *context)
{
    if (resolve_literal(host, addresses))
        return true;
    addresses->count = 0;
    if (resolver == NULL)
        return true;
    pthread_mutex_lock(&resolver->lock);
    bool known = recall(resolver, host, addresses);
    pthread_mutex_unlock(&resolver->lock);
    if (known)
        return true;
    struct http_resolve_job *own = calloc(1, sizeof *own);
    if (own == NULL)
        return true;
    own->resolver = resolver;
    own->loop = loop;
    own->done = done;
    own->context = context;
    strncpy(own->host, host, sizeof own->host - 1);
    *job = own;
    pthread_mutex_lock(&resolver->lock);
    if (resolver->last != NULL)
        resolver->last->next = own;
    else
        resolver->first = own;
    resolver->last = own;
    pthread_cond_signal(&resolver->wanted);
    pthread_mutex_unlock(&resolver->lock);
    return false;
}

void http_resolve_cancel(struct http_resolve_job *job)
{
    struct http_resolver *resolver = job->resolver;
    pthread_mutex_lock(&resolver->lock);
    if (job->posted)
        job->done = NULL; /* freed when the loop gets to it */
    else
        job->loop = NULL; /* freed by the thread; the loop may end before */
    pthread_mutex_unlock(&resolver->lock);
}
