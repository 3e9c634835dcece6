// A muster-gateway without a coordinator around it: an edge proxy, a load balancer. It listens on a free port of its
// own, which is read from its log.

#pragma once

#include "tests/integration/coordinator.h"

#include <memory>

class LoneGateway
{
  public:
    explicit LoneGateway(std::vector<std::string> more_flags, std::vector<std::string> its_environment = {})
        : flags(std::move(more_flags)), environment(std::move(its_environment))
    {
        flags.insert(flags.begin(), {"--port", "0"});
    }
    bool start()
    {
        process = std::make_unique<Process>("gateway/muster-gateway", flags, environment);
        const std::string word = "serving address=";
        const auto says_where = [&] {
            std::string log = process->errors();
            size_t at = log.find(word);
            size_t end = at == std::string::npos ? at : log.find_first_of(" \n", at + word.size());
            if (end == std::string::npos)
                return false;
            base_url = "http://" + log.substr(at + word.size(), end - at - word.size());
            return true;
        };
        return eventually([&] { return says_where() || !process->running(); }) && says_where();
    }
    const std::string &url() const
    {
        return base_url;
    }
    Process &running()
    {
        return *process;
    }
    std::string log() const
    {
        return process->errors();
    }
    int stop()
    {
        process->signal(SIGTERM);
        return process->wait();
    }
    Response get(const std::string &path, const Request &request = {})
    {
        return HttpClient().request(base_url + path, request);
    }
    Response post(const std::string &path, const std::string &body)
    {
        return HttpClient().request(base_url + path, {.method = "POST", .body = body});
    }
    Json health()
    {
        return get("/health").json();
    }
    // A sample of /metrics; -1: it is not there.
    double metric(const std::string &sample)
    {
        std::string text = get("/metrics").body;
        size_t at = text.find("\n" + sample + " ");
        return at == std::string::npos ? -1 : std::stod(text.substr(at + sample.size() + 2));
    }

  private:
    std::vector<std::string> flags, environment;
    std::unique_ptr<Process> process;
    std::string base_url;
};
