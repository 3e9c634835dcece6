// A script of gateway/edge in workerd, for tests that put it beside real coordinators and workers: tests/edge/serve.mjs
// says how it is run. A test target has //tests/edge:runner in its data, and the tag "no-sanitizers".

#pragma once

#include "tests/integration/coordinator.h"

#include <memory>

class ScriptGateway
{
  public:
    // name: "proxy" or "router"; settings: "NAME=value"; data_dir empty: it forgets all when it stops.
    explicit ScriptGateway(const std::string &name, const std::vector<std::string> &settings,
                           const std::string &data_dir = "", const std::string &port = "")
        : arguments({name})
    {
        arguments.insert(arguments.end(), settings.begin(), settings.end());
        if (!data_dir.empty())
            arguments.insert(arguments.end(), {"--data-dir", data_dir});
        if (!port.empty())
            arguments.insert(arguments.end(), {"--port", port});
    }
    ~ScriptGateway()
    {
        if (process != nullptr && process->running())
            stop();
    }
    bool start()
    {
        const std::string word = "ready ";
        process = std::make_unique<Process>("tests/edge/serve", arguments);
        const auto is_ready = [&] { return process->output().find('\n') != std::string::npos; };
        eventually([&] { return is_ready() || !process->running(); });
        std::string line = process->output();
        if (line.compare(0, word.size(), word) != 0 || !is_ready())
            return false;
        base_url = line.substr(word.size(), line.find('\n') - word.size());
        return true;
    }
    int stop()
    {
        process->signal(SIGTERM);
        return process->wait();
    }
    // As when the machine loses its power; its workerd dies with it.
    void cut_off()
    {
        process->signal(SIGKILL);
        process->wait();
    }
    const std::string &url() const
    {
        return base_url;
    }
    std::string log() const
    {
        return process->errors();
    }
    Response request(const std::string &path, const Request &request)
    {
        return HttpClient().request(base_url + path, request);
    }
    Response get(const std::string &path, const Request &request = {})
    {
        return HttpClient().request(base_url + path, request);
    }
    Response post(const std::string &path, const std::string &body)
    {
        return request(path, {.method = "POST", .body = body});
    }

  private:
    std::vector<std::string> arguments;
    std::unique_ptr<Process> process;
    std::string base_url;
};
