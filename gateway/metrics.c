/* See metrics.h. */

#include "gateway/metrics.h"

#include <stdbool.h>

/* Upper bounds of the buckets of durations, and as seconds for the labels. */
static const struct {
    uint64_t us;
    const char *seconds;
} bounds[METRICS_BUCKETS] = {
    {100, "0.0001"}, {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"}, {2500, "0.0025"},
    {5000, "0.005"}, {10000, "0.01"},  {25000, "0.025"}, {50000, "0.05"}, {100000, "0.1"},
    {500000, "0.5"}, {2500000, "2.5"}, {10000000, "10"},
};

void metrics_request(struct front_metrics *metrics, const struct api_route *route, unsigned status,
                     uint64_t duration_us)
{
    struct route_metrics *counters = &metrics->routes[route == NULL ? API_OPERATION_COUNT : route->operation];
    metrics_add(&counters->by_class[status / 100 <= 5 ? status / 100 : 0], 1);
    metrics_add(&counters->duration_us, duration_us);
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        if (duration_us <= bounds[i].us) {
            metrics_add(&counters->buckets[i], 1);
            break;
        }
    }
}

static uint64_t read_counter(const metrics_counter *counter)
{
    return atomic_load_explicit((metrics_counter *)counter, memory_order_relaxed);
}

static void add_routes(struct route_metrics *sum, const struct route_metrics *from)
{
    for (size_t i = 0; i < 6; i++)
        metrics_add(&sum->by_class[i], read_counter(&from->by_class[i]));
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        metrics_add(&sum->buckets[i], read_counter(&from->buckets[i]));
    metrics_add(&sum->duration_us, read_counter(&from->duration_us));
}

static void render_head(struct buffer *out, const char *name, const char *type, const char *help)
{
    buffer_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void render_value(struct buffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    render_head(out, name, type, help);
    buffer_append_format(out, "%s %llu\n", name, (unsigned long long)value);
}

static const char *label_of(size_t operation)
{
    return operation == API_OPERATION_COUNT ? "none" : api_routes()[operation].label;
}

static uint64_t request_count(const struct route_metrics *route)
{
    uint64_t count = 0;
    for (size_t i = 0; i < 6; i++)
        count += read_counter(&route->by_class[i]);
    return count;
}

static void render_requests(const struct front_metrics *sum, struct buffer *out)
{
    static const char *const classes[6] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    render_head(out, "gateway_requests_total", "counter", "Requests that were answered, by route and class of status.");
    for (size_t i = 0; i <= API_OPERATION_COUNT; i++) {
        for (size_t j = 0; j < 6; j++) {
            uint64_t count = read_counter(&sum->routes[i].by_class[j]);
            if (count > 0)
                buffer_append_format(out, "gateway_requests_total{route=\"%s\",status=\"%s\"} %llu\n", label_of(i),
                                     classes[j], (unsigned long long)count);
        }
    }
}

static void render_durations(const struct front_metrics *sum, struct buffer *out)
{
    static const char name[] = "gateway_request_duration_seconds";
    render_head(out, name, "histogram", "From the complete head of a request to the end of its answer.");
    for (size_t i = 0; i <= API_OPERATION_COUNT; i++) {
        const struct route_metrics *route = &sum->routes[i];
        uint64_t total = request_count(route);
        uint64_t below = 0;
        if (total == 0)
            continue;
        for (size_t j = 0; j < METRICS_BUCKETS; j++) {
            below += read_counter(&route->buckets[j]);
            buffer_append_format(out, "%s_bucket{route=\"%s\",le=\"%s\"} %llu\n", name, label_of(i), bounds[j].seconds,
                                 (unsigned long long)below);
        }
        buffer_append_format(out, "%s_bucket{route=\"%s\",le=\"+Inf\"} %llu\n", name, label_of(i),
                             (unsigned long long)total);
        buffer_append_format(out, "%s_sum{route=\"%s\"} %.6f\n", name, label_of(i),
                             (double)read_counter(&route->duration_us) / 1e6);
        buffer_append_format(out, "%s_count{route=\"%s\"} %llu\n", name, label_of(i), (unsigned long long)total);
    }
}

static void render_relays(const struct front_metrics *sum, struct buffer *out)
{
    static const char *const results[METRICS_RELAY_RESULTS] = {
        [HTTP_RELAY_ANSWERED] = "answered",
        [HTTP_RELAY_NO_TARGET] = "no_target",
        [HTTP_RELAY_CONNECT_FAILED] = "connect_failed",
        [HTTP_RELAY_CONNECT_TIMEOUT] = "connect_timeout",
        [HTTP_RELAY_CLOSED_EARLY] = "closed_early",
        [HTTP_RELAY_TIMEOUT] = "timeout",
        [HTTP_RELAY_MALFORMED] = "malformed",
        [HTTP_RELAY_TRUNCATED] = "truncated",
        [HTTP_RELAY_DECLINED] = "declined",
        [HTTP_RELAY_CLIENT_GONE] = "client_gone",
    };
    render_head(out, "gateway_relay_attempts_total", "counter", "Attempts to have a request answered by a worker.");
    for (size_t i = 0; i < METRICS_RELAY_RESULTS; i++)
        buffer_append_format(out, "gateway_relay_attempts_total{result=\"%s\"} %llu\n", results[i],
                             (unsigned long long)read_counter(&sum->relay_attempts[i]));
    render_value(out, "gateway_relay_retries_total", "counter", "Attempts that were followed by another worker's.",
                 read_counter(&sum->relay_retries));
}

static void render_refused(const struct front_metrics *sum, struct buffer *out)
{
    static const char *const reasons[METRICS_REFUSED_COUNT] = {
        [METRICS_REFUSED_UNAUTHORIZED] = "unauthorized",
        [METRICS_REFUSED_FORBIDDEN] = "forbidden",
        [METRICS_REFUSED_RATE] = "rate_limited",
    };
    render_head(out, "gateway_refused_total", "counter",
                "Requests that were not let in, for want of a key or a right.");
    for (size_t i = 0; i < METRICS_REFUSED_COUNT; i++)
        buffer_append_format(out, "gateway_refused_total{reason=\"%s\"} %llu\n", reasons[i],
                             (unsigned long long)read_counter(&sum->refused[i]));
}

void metrics_render(const struct front_metrics *const *fronts, size_t front_count,
                    const struct coordinator_metrics *coordinator, struct buffer *out)
{
    struct front_metrics sum = {.relay_retries = 0};
    for (size_t i = 0; i < front_count; i++) {
        for (size_t j = 0; j <= API_OPERATION_COUNT; j++)
            add_routes(&sum.routes[j], &fronts[i]->routes[j]);
        for (size_t j = 0; j < METRICS_RELAY_RESULTS; j++)
            metrics_add(&sum.relay_attempts[j], read_counter(&fronts[i]->relay_attempts[j]));
        metrics_add(&sum.relay_retries, read_counter(&fronts[i]->relay_retries));
        metrics_add(&sum.links_opened, read_counter(&fronts[i]->links_opened));
        metrics_add(&sum.link_requests, read_counter(&fronts[i]->link_requests));
        for (size_t j = 0; j < METRICS_REFUSED_COUNT; j++)
            metrics_add(&sum.refused[j], read_counter(&fronts[i]->refused[j]));
    }
    render_value(out, "coordinator_workers_total", "gauge", "Workers on the roll.", coordinator->workers);
    render_value(out, "coordinator_workers_active", "gauge", "Workers that are healthy.", coordinator->active_workers);
    render_value(out, "coordinator_services_total", "gauge", "Services that a healthy worker offers.",
                 coordinator->services);
    render_value(out, "coordinator_heartbeats_total", "counter", "Heartbeats taken since health started.",
                 coordinator->heartbeats);
    render_value(out, "coordinator_evictions_waiting", "gauge",
                 "Workers that are gone, and stay on the roll while evictions are slowed down.",
                 coordinator->evictions_waiting);
    render_value(out, "gateway_heartbeats_total", "counter", "Heartbeats taken over REST by this gateway.",
                 coordinator->rest_heartbeats);
    render_value(out, "gateway_heartbeat_messages_total", "counter", "Messages in which heartbeats were passed on.",
                 coordinator->heartbeat_messages);
    render_value(out, "coordinator_history_workers", "gauge", "Workers whose history is kept.",
                 coordinator->history_workers);
    render_value(out, "coordinator_history_workers_not_kept", "gauge",
                 "Workers on the roll beyond the limit of the history (muster-health --history-workers).",
                 coordinator->history_workers_not_kept);
    render_value(out, "coordinator_history_dropped_total", "counter",
                 "Buckets of history that were lost since health started: its disk failed or was too slow.",
                 coordinator->history_dropped);
    render_value(out, "gateway_registrations_total", "counter", "Registrations through this gateway.",
                 coordinator->registrations);
    render_value(out, "gateway_unregistrations_total", "counter", "Workers taken off the roll through this gateway.",
                 coordinator->unregistrations);
    render_value(out, "gateway_links", "gauge", "Links of workers (--tunnel link) that are open here.",
                 coordinator->links);
    render_value(out, "gateway_link_requests_in_flight", "gauge", "Requests that are in a link now.",
                 coordinator->requests_in_links);
    render_value(out, "gateway_links_opened_total", "counter", "Links that workers have opened here.",
                 read_counter(&sum.links_opened));
    render_value(out, "gateway_link_requests_total", "counter", "Requests that went into a link.",
                 read_counter(&sum.link_requests));
    render_head(out, "gateway_part_up", "gauge", "Whether a process behind the gateway can be reached.");
    for (size_t i = 0; i < coordinator->part_count; i++)
        buffer_append_format(out, "gateway_part_up{part=\"%s\"} %d\n", coordinator->parts[i].name,
                             coordinator->parts[i].up ? 1 : 0);
    render_requests(&sum, out);
    render_durations(&sum, out);
    render_relays(&sum, out);
    render_refused(&sum, out);
}
