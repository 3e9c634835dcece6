// Programs that others wrote, at both ends: curl as a client, nginx and Python's http.server as
// upstreams, nginx as a proxy in front. What they agree with us on is not just our own opinion.

#include "tests/conformance/http/harness.h"

#include <gtest/gtest.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

namespace {

std::string temporary(const std::string &name)
{
    const char *root = getenv("TEST_TMPDIR");
    return std::string(root != nullptr ? root : "/tmp") + "/" + std::to_string(getpid()) + "-" + name;
}

void write_file(const std::string &path, const std::string &bytes)
{
    std::ofstream(path, std::ios::binary) << bytes;
}

// A program that runs until the end of the test.
class Program {
public:
    Program(std::vector<std::string> words, uint16_t port)
    {
        std::vector<char *> arguments;
        for (auto &word : words)
            arguments.push_back(&word[0]);
        arguments.push_back(nullptr);
        pid_ = fork();
        if (pid_ == 0) {
            FILE *null = freopen("/dev/null", "w", stderr);
            (void)null;
            execvp(arguments[0], arguments.data());
            _exit(127);
        }
        EXPECT_TRUE(eventually([&] { return listens(port); })) << words[0] << " does not start";
    }
    ~Program()
    {
        kill(pid_, SIGTERM);
        waitpid(pid_, nullptr, 0);
    }

private:
    static bool listens(uint16_t port)
    {
        int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        bool connected = connect(descriptor, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0;
        close(descriptor);
        return connected;
    }
    pid_t pid_;
};

std::string output_of(const std::string &command)
{
    std::string output;
    FILE *pipe = popen(command.c_str(), "r");
    std::array<char, 4096> buffer;
    size_t bytes;
    while ((bytes = fread(buffer.data(), 1, buffer.size(), pipe)) > 0)
        output.append(buffer.data(), bytes);
    EXPECT_EQ(pclose(pipe), 0) << command;
    return output;
}

std::string random_bytes_of(size_t count)
{
    std::string bytes(count, '\0');
    uint32_t state = 12345;
    for (char &c : bytes)
        c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    return bytes;
}

// An echo with collected bodies of up to 32 MiB.
void echo(http_exchange *exchange)
{
    http_exchange_collect_body(
        exchange, 32 << 20, [](void *, http_exchange *whole, http_text body) { respond(whole, 200, text_of(body)); }, nullptr);
}

struct Relay {
    explicit Relay(const std::string &url, http_upstreams_config upstreams = {})
        : plan({url}), server([this](http_exchange *exchange) { relay(&server, exchange, &plan); }, {}, upstreams)
    {
    }
    std::string url() { return "http://127.0.0.1:" + std::to_string(server.port()); }
    RelayPlan plan;
    Server server;
};

std::string nginx_configuration(const std::string &server)
{
    std::string root = temporary("nginx");
    return "daemon off; user root; worker_processes 1; pid " + root + ".pid; error_log /dev/null crit;\n"
           "events { worker_connections 256; }\n"
           "http { access_log off; client_max_body_size 0; client_body_temp_path " + root + "b; proxy_temp_path " + root +
           "p; fastcgi_temp_path " + root + "f; uwsgi_temp_path " + root + "u; scgi_temp_path " + root + "s;\n" + server + "}\n";
}

TEST(Foreign, CurlUploadsInEveryWay)
{
    Server server(echo);
    std::string url = " http://127.0.0.1:" + std::to_string(server.port()) + "/ ";
    std::string file = temporary("upload"), bytes = random_bytes_of(5000000);
    write_file(file, bytes);
    std::string curl = "curl -sS --max-time 20 --data-binary @" + file;
    EXPECT_TRUE(output_of(curl + url) == bytes) << "with Content-Length and Expect";
    EXPECT_TRUE(output_of(curl + " -H Expect:" + url) == bytes) << "without Expect";
    EXPECT_TRUE(output_of(curl + " -H 'Transfer-Encoding: chunked'" + url) == bytes) << "chunked";
    EXPECT_TRUE(output_of(curl + " --http1.0" + url) == bytes) << "HTTP/1.0";
    EXPECT_TRUE(output_of(curl + url + "--next -sS --max-time 20 --data-binary @" + file + url) == bytes + bytes) << "twice on one connection";
    EXPECT_EQ(server.counts().connections_open, 0u);
}

TEST(Foreign, CurlThroughTheRelayToPythonsServer)
{
    std::string directory = temporary("www");
    ASSERT_EQ(system(("mkdir -p " + directory).c_str()), 0);
    std::string bytes = random_bytes_of(20 << 20);
    write_file(directory + "/file", bytes);
    uint16_t port = unused_port();
    Program python({"/usr/bin/python3", "-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1", "--directory",
                    directory, std::to_string(port)}, port);
    Relay relay("http://127.0.0.1:" + std::to_string(port));
    EXPECT_TRUE(output_of("curl -sS --max-time 20 " + relay.url() + "/file") == bytes);
    EXPECT_TRUE(output_of("curl -sS --max-time 20 --limit-rate 40M " + relay.url() + "/file") == bytes);
    std::string head = output_of("curl -sS --max-time 20 -I " + relay.url() + "/file");
    EXPECT_NE(head.find("Content-Length: " + std::to_string(bytes.size())), std::string::npos) << head;
    EXPECT_EQ(output_of("curl -sS --max-time 20 -o /dev/null -w '%{http_code}' " + relay.url() + "/missing"), "404");
    EXPECT_EQ(output_of("curl -sS --max-time 20 -o /dev/null -w '%{http_code}' -d x " + relay.url() + "/file"), "501");
    // It does not know If-None-Match, but If-Modified-Since.
    EXPECT_EQ(output_of("curl -sS --max-time 20 -o /dev/null -w '%{http_code}' -H 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT' " +
                        relay.url() + "/file"), "304");
}

TEST(Foreign, NginxInFrontOfTheServer)
{
    Server server(echo);
    uint16_t port = unused_port();
    std::string configuration = temporary("front.conf");
    write_file(configuration, nginx_configuration(
        "upstream u { server 127.0.0.1:" + std::to_string(server.port()) + "; keepalive 8; }\n"
        "server { listen 127.0.0.1:" + std::to_string(port) + "; location / { proxy_pass http://u; proxy_http_version 1.1;\n"
        "proxy_request_buffering off; proxy_set_header Connection \"\"; } }\n"));
    Program nginx({"nginx", "-c", configuration}, port);
    std::string file = temporary("through"), bytes = random_bytes_of(3000000);
    write_file(file, bytes);
    std::string url = " http://127.0.0.1:" + std::to_string(port) + "/ ", curl = "curl -sS --max-time 20 --data-binary @" + file;
    for (int i = 0; i < 3; i++) {
        EXPECT_TRUE(output_of(curl + url) == bytes);
        EXPECT_TRUE(output_of(curl + " -H 'Transfer-Encoding: chunked'" + url) == bytes);
    }
    EXPECT_EQ(server.counts().requests, 6u);
    EXPECT_EQ(server.counts().connections_accepted, 1u) << "nginx found nothing wrong with keeping it";
}

// --- TLS ------------------------------------------------------------------------------------------

// A self-signed certificate for "localhost" and its key, in files.
void make_certificate(const std::string &certificate_file, const std::string &key_file)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char *>("localhost"), -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(nullptr, &context, NID_subject_alt_name, "DNS:localhost");
    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(certificate, key, EVP_sha256());
    FILE *file = fopen(certificate_file.c_str(), "w");
    PEM_write_X509(file, certificate);
    fclose(file);
    file = fopen(key_file.c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

class ForeignTls : public testing::Test {
protected:
    void SetUp() override
    {
        std::string certificate = temporary("certificate.pem"), key = temporary("key.pem"), directory = temporary("tls");
        make_certificate(certificate, key);
        ASSERT_EQ(system(("mkdir -p " + directory).c_str()), 0);
        bytes_ = random_bytes_of(8 << 20);
        write_file(directory + "/file", bytes_);
        port_ = unused_port();
        Server *back = new Server(echo);
        back_.reset(back);
        std::string configuration = temporary("tls.conf");
        write_file(configuration, nginx_configuration(
            "server { listen 127.0.0.1:" + std::to_string(port_) + " ssl; ssl_certificate " + certificate +
            "; ssl_certificate_key " + key + "; root " + directory + ";\n"
            "location /echo { proxy_pass http://127.0.0.1:" + std::to_string(back->port()) + "; proxy_http_version 1.1;\n"
            "proxy_request_buffering off; } }\n"));
        nginx_ = std::make_unique<Program>(std::vector<std::string>{"nginx", "-c", configuration}, port_);
        setenv("SSL_CERT_FILE", certificate.c_str(), 1); // what OpenSSL trusts in this process
    }
    std::string url(const std::string &host) { return "https://" + host + ":" + std::to_string(port_); }
    std::string bytes_;
    uint16_t port_ = 0;
    std::unique_ptr<Server> back_;
    std::unique_ptr<Program> nginx_;
};

TEST_F(ForeignTls, RelaysToAnHttpsUpstreamThatItTrusts)
{
    Relay relay(url("localhost"));
    EXPECT_TRUE(output_of("curl -sS --max-time 20 " + relay.url() + "/file") == bytes_);
    EXPECT_TRUE(output_of("curl -sS --max-time 20 --limit-rate 20M " + relay.url() + "/file") == bytes_);
    std::string file = temporary("tls-upload");
    write_file(file, bytes_);
    EXPECT_TRUE(output_of("curl -sS --max-time 20 --data-binary @" + file + " " + relay.url() + "/echo") == bytes_);
    Peer client = relay.server.connect();
    for (int i = 0; i < 5; i++) {
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        EXPECT_EQ(client.read_message().body, "hello");
    }
    struct http_upstreams_counts counts = relay.server.upstream_counts();
    EXPECT_EQ(counts.connections_made, 1u) << "TLS connections are kept as well";
    EXPECT_EQ(relay.plan.failures(), 0);
}

TEST_F(ForeignTls, RefusesACertificateForAnotherName)
{
    Relay relay(url("127.0.0.1"));
    EXPECT_EQ(output_of("curl -sS --max-time 20 -o /dev/null -w '%{http_code}' " + relay.url() + "/file"), "502");
    EXPECT_EQ(relay.plan.failure(), HTTP_RELAY_CONNECT_FAILED);
}

TEST_F(ForeignTls, RefusesACertificateThatItDoesNotTrust)
{
    unsetenv("SSL_CERT_FILE");
    Relay relay(url("localhost"));
    EXPECT_EQ(output_of("curl -sS --max-time 20 -o /dev/null -w '%{http_code}' " + relay.url() + "/file"), "502");
}

TEST_F(ForeignTls, AsksForNoCertificateWhenToldSo)
{
    unsetenv("SSL_CERT_FILE");
    http_upstreams_config config = {};
    config.tls_insecure = true;
    Relay relay(url("127.0.0.1"), config);
    EXPECT_TRUE(output_of("curl -sS --max-time 20 " + relay.url() + "/file") == bytes_);
}

TEST_F(ForeignTls, APlainServerBehindHttpsIsAConnectFailure)
{
    Server plain(echo);
    Relay relay("https://localhost:" + std::to_string(plain.port()));
    EXPECT_EQ(output_of("curl -sS --max-time 20 -o /dev/null -w '%{http_code}' " + relay.url() + "/"), "502");
    EXPECT_EQ(relay.plan.failure(), HTTP_RELAY_CONNECT_FAILED);
}

} // namespace
