// muster-health in the simulated world; see processes.h.

#include <algorithm>
#include <cstdlib>

#include "tests/simulation/processes.h"

namespace simulation
{

Health::Health(World *world, Coordinator *all, Node *place)
    : node(place), world_(world), all_(all), watch_(world, place), turn_(world, place, [this] { Pump(); })
{
}

void Health::Start()
{
    world_->Start(node);
    core = health_create(&kHealth, world_->Now());
    report_retry_at_ms_ = 0;
    watch_.Start([this](auto result) { all_->registry.Follow(node, health_watch_begin(core), result); },
                 [this](const Bytes &bytes) {
                     Unpacked message(muster__v1__watch_workers_response__descriptor, bytes);
                     if (!health_apply_watch(core, &message.As<Muster__V1__WatchWorkersResponse>(), world_->Now()))
                         std::abort();
                     turn_.Touch();
                 });
}

void Health::Stop()
{
    watch_.Forget();
    watches_.clear();
    health_destroy(core);
    core = nullptr;
    turn_.Forget();
}

// --- The pump, at the end of a turn ---

void Health::Pump()
{
    health_advance(core, world_->Now());
    while (health_stream *stream = health_next_ready_stream(core)) {
        Muster__V1__HeartbeatResponse response;
        auto *raw = static_cast<Stream *>(health_stream_user(stream));
        while (health_stream_response(core, stream, &response))
            raw->Send(Stream::kServer, Pack(response.base));
    }
    Registry *registry = &all_->registry;
    Muster__V1__GetWorkersRequest lookup;
    if (health_fill_lookup(core, &lookup)) {
        world_->Call(
            node, registry->node, Pack(lookup.base),
            [registry](const Bytes &asked, World::Answer answer) { registry->GetWorkers(asked, answer); }, 1000,
            [this](const Bytes *answer) {
                if (answer == nullptr) {
                    health_lookup_answered(core, nullptr, world_->Now());
                } else {
                    Unpacked message(muster__v1__get_workers_response__descriptor, *answer);
                    health_lookup_answered(core, &message.As<Muster__V1__GetWorkersResponse>(), world_->Now());
                }
                turn_.Touch();
            });
    }
    Muster__V1__ReportLivenessRequest report;
    if (world_->Now() >= report_retry_at_ms_ && health_fill_liveness(core, 1000, world_->Now(), &report)) {
        world_->Call(
            node, registry->node, Pack(report.base),
            [registry](const Bytes &told, World::Answer answer) { registry->ReportLiveness(told, answer); }, 5000,
            [this](const Bytes *answer) {
                health_liveness_answered(core, answer != nullptr);
                report_retry_at_ms_ = answer != nullptr ? 0 : world_->Now() + 200;
                if (answer == nullptr)
                    world_->AfterOn(node, 200, [this] { turn_.Touch(); });
                turn_.Touch();
            });
    }
    bool urgent = health_urgent_changes(core);
    for (auto &watch : watches_) {
        if (urgent) {
            Send(watch.get());
        } else if (!watch->gathering && health_watcher_is_behind(core, watch->watcher)) {
            watch->gathering = true;
            world_->AfterOn(node, 100, [this, raw = watch->stream.get()] {
                for (auto &one : watches_) {
                    if (one->stream.get() == raw) {
                        one->gathering = false;
                        Send(one.get());
                    }
                }
            });
        }
    }
    turn_.Due(health_next_ms(core));
}

void Health::Send(Watch *watch)
{
    Muster__V1__WatchHealthResponse response;
    while (health_watcher_fill(core, watch->watcher, 200, world_->Now(), world_->Unix(), &response))
        watch->stream->Send(Stream::kServer, Pack(response.base));
}

// --- The methods ---

void Health::Heartbeat(StreamPointer stream)
{
    auto *raw = stream.get();
    health_stream *opened = health_stream_open(core, raw);
    auto &end = stream->End(Stream::kServer);
    end.message = [this, opened](const Bytes &bytes) {
        Unpacked message(muster__v1__heartbeat_request__descriptor, bytes);
        if (health_stream_message(core, opened, &message.As<Muster__V1__HeartbeatRequest>(), world_->Now()) !=
            HEALTH_MESSAGE_TAKEN)
            std::abort();
        turn_.Touch();
    };
    // The stream lives as long as the core may send to it.
    end.ended = [this, opened, stream] {
        health_stream_closed(core, opened, world_->Now());
        turn_.Touch();
    };
}

void Health::WatchHealth(StreamPointer stream)
{
    health_watcher *watcher = health_watcher_open(core);
    if (watcher == nullptr)
        std::abort();
    Send(AddWatch(&watches_, stream, Watch{stream, watcher}, [this](auto *one) { health_watcher_close(core, one); }));
}

} // namespace simulation
