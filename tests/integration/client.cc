// HTTP and JSON for tests of a whole coordinator; see coordinator.h.

#include "tests/integration/coordinator.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

// --- JSON ---

Json::Json(json_t *borrowed) : value(json_incref(borrowed), json_decref) {}

Json Json::parse(const std::string &text)
{
    Json parsed;
    parsed.value = std::shared_ptr<json_t>(json_loadb(text.data(), text.size(), JSON_DECODE_ANY, nullptr), json_decref);
    return parsed;
}

Json Json::operator[](const std::string &key) const
{
    return Json(json_object_get(value.get(), key.c_str()));
}

Json Json::operator[](size_t index) const
{
    return Json(json_array_get(value.get(), index));
}

bool Json::is_null() const
{
    return value == nullptr || json_is_null(value.get());
}

bool Json::is_array() const
{
    return json_is_array(value.get());
}

size_t Json::size() const
{
    return json_is_array(value.get()) ? json_array_size(value.get()) : json_object_size(value.get());
}

std::string Json::text() const
{
    const char *text = json_string_value(value.get());
    return text != nullptr ? text : "";
}

long long Json::integer() const
{
    return json_integer_value(value.get());
}

double Json::number() const
{
    return json_number_value(value.get());
}

bool Json::boolean() const
{
    return json_is_true(value.get());
}

std::string Json::dump() const
{
    char *text = json_dumps(value.get(), JSON_COMPACT | JSON_ENCODE_ANY);
    std::string copy = text != nullptr ? text : "null";
    free(text);
    return copy;
}

Json Json::find(const std::string &key, const std::string &wanted) const
{
    for (size_t i = 0; i < size(); i++)
        if ((*this)[i][key].text() == wanted)
            return (*this)[i];
    return Json();
}

// --- HTTP ---

std::string Response::header(const std::string &name) const
{
    auto found = headers.find(name);
    return found != headers.end() ? found->second : "";
}

std::string Response::described() const
{
    return std::to_string(status) + " " + (error.empty() ? "" : "(" + error + ") ") + body.substr(0, 500);
}

static size_t take_body(char *data, size_t size, size_t count, void *argument)
{
    static_cast<Response *>(argument)->body.append(data, size * count);
    return size * count;
}

static size_t take_header(char *data, size_t size, size_t count, void *argument)
{
    std::string line(data, size * count);
    size_t colon = line.find(':');
    if (colon != std::string::npos) {
        std::string name = line.substr(0, colon);
        std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
        size_t begin = line.find_first_not_of(" \t", colon + 1);
        size_t end = line.find_last_not_of(" \t\r\n");
        static_cast<Response *>(argument)->headers[name] =
            begin == std::string::npos || end < begin ? "" : line.substr(begin, end - begin + 1);
    }
    return size * count;
}

HttpClient::HttpClient() : handle(curl_easy_init()) {}

HttpClient::~HttpClient()
{
    curl_easy_cleanup(static_cast<CURL *>(handle));
}

Response HttpClient::request(const std::string &url, const Request &request)
{
    CURL *curl = static_cast<CURL *>(handle);
    Response response;
    curl_easy_reset(curl); // keeps the connection
    // No "Expect: 100-continue": what is tested is the request as it is written here.
    struct curl_slist *headers = curl_slist_append(nullptr, "Expect:");
    for (const auto &header : request.headers)
        headers = curl_slist_append(headers, header.c_str());
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, request.timeout_ms);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (request.http2)
        curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &response);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &response);
    if (request.method == "HEAD") {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (request.method != "GET" || !request.body.empty()) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.c_str());
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &response.status);
    else
        response.error = curl_easy_strerror(code);
    curl_slist_free_all(headers);
    return response;
}

std::string raw_exchange(const std::string &address, const std::string &bytes, bool half_close, int silence_ms)
{
    size_t colon = address.rfind(':');
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    std::string answer;
    if (connect(fd, reinterpret_cast<sockaddr *>(&to), sizeof(to)) == 0) {
        size_t sent = 0;
        bool over = false;
        bool closed = false;
        // Sends and receives side by side: a server may answer, and close, before it has
        // read everything.
        while (!over) {
            bool sending = sent < bytes.size();
            if (!sending && half_close && !closed) {
                shutdown(fd, SHUT_WR);
                closed = true;
            }
            pollfd waiting = {fd, static_cast<short>(POLLIN | (sending ? POLLOUT : 0)), 0};
            if (poll(&waiting, 1, silence_ms) <= 0)
                break;
            if ((waiting.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
                char part[65536];
                ssize_t count = recv(fd, part, sizeof(part), 0);
                if (count > 0)
                    answer.append(part, static_cast<size_t>(count));
                else
                    over = true;
            }
            if (!over && (waiting.revents & POLLOUT) != 0) {
                ssize_t count = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (count > 0)
                    sent += static_cast<size_t>(count);
                else
                    sent = bytes.size(); // it takes no more; what it says is still read
            }
        }
    }
    close(fd);
    return answer;
}
