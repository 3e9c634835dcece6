// An edge router of either make, for tests of the contract that both keep: muster-gateway --role edge-router with the
// processes behind it, or the script for Cloudflare (gateway/edge/router) in workerd.

#pragma once

#include "tests/integration/coordinator.h"
#include "tests/integration/script_gateway.h"

#include <algorithm>
#include <memory>
#include <ostream>

enum class EdgeMake { PROGRAM, SCRIPT };

inline std::ostream &operator<<(std::ostream &out, EdgeMake make)
{
    return out << (make == EdgeMake::PROGRAM ? "program" : "script");
}

class EdgeRouter
{
  public:
    // The options are a program's; the script has its settings under the same names.
    EdgeRouter(EdgeMake make, const CoordinatorOptions &options)
    {
        if (make == EdgeMake::PROGRAM)
            program_ = std::make_unique<Coordinator>(options);
        else
            script_ = script_of(options);
    }
    bool start()
    {
        return program_ ? program_->start() : script_->start();
    }
    int stop()
    {
        return program_ ? program_->stop() : script_->stop();
    }
    const std::string &url() const
    {
        return program_ ? program_->url() : script_->url();
    }
    std::string log() const
    {
        return program_ ? program_->log() : script_->log();
    }
    Response request(const std::string &path, const Request &request)
    {
        return program_ ? program_->request(path, request) : script_->request(path, request);
    }
    Response get(const std::string &path)
    {
        return request(path, {});
    }
    Response post(const std::string &path, const std::string &body)
    {
        return request(path, {.method = "POST", .body = body});
    }
    Json worker(const std::string &worker_id)
    {
        return get("/api/admin/workers").json()["workers"].find("worker_id", worker_id);
    }
    // NULL: it is the script.
    Coordinator *program()
    {
        return program_.get();
    }
    ScriptGateway *script()
    {
        return script_.get();
    }

  private:
    static std::unique_ptr<ScriptGateway> script_of(const CoordinatorOptions &options)
    {
        // It believes nobody without a proof and calls no private address, unless it is told: the program does so where
        // it listens on loopback only.
        std::vector<std::string> settings = {"COORDINATOR_PROOF=optional"};
        std::string port;
        bool is_open = false;
        for (size_t i = 0; i < options.flags.size(); i++) {
            bool has_value = i + 1 < options.flags.size();
            is_open = is_open || options.flags[i] == "--insecure";
            if (options.flags[i] == "--port" && has_value)
                port = options.flags[i + 1];
            if (options.flags[i] == "--peer" && has_value)
                settings.push_back("PEER=" + options.flags[i + 1]);
        }
        if (!is_open)
            settings.push_back("ALLOW_PRIVATE_URLS=true");
        settings.insert(settings.end(), options.environment.begin(), options.environment.end());
        return std::make_unique<ScriptGateway>("router", settings, options.data_dir, port);
    }
    std::unique_ptr<Coordinator> program_;
    std::unique_ptr<ScriptGateway> script_;
};
