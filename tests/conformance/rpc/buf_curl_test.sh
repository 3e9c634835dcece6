#!/bin/bash
# buf curl lists and calls our services through reflection alone.
#
#     buf_curl_test.sh INTEROP_SERVER ASSIGNER

. tests/conformance/rpc/buf.sh

fail() {
    echo "$*"
    exit 1
}

# Called without the schema: all that is known comes from the server.
ask() {
    (cd "$TEST_TMPDIR" && "$buf" curl --protocol grpc --http2-prior-knowledge "$@")
}

expect() {
    local wanted=$1
    shift
    local answer
    answer=$(ask "$@" 2>&1) || fail "buf curl $*: $answer"
    [[ $answer == *"$wanted"* ]] || fail "buf curl $*: no '$wanted' in: $answer"
}

# --- The interoperability server ---

coproc INTEROP { "$1"; }
read -r port <&"${INTEROP[0]}"
interop=http://127.0.0.1:$port

for service in grpc.testing.TestService grpc.health.v1.Health grpc.reflection.v1.ServerReflection; do
    expect "$service" --list-services "$interop"
done
expect grpc.testing.TestService/FullDuplexCall --list-methods "$interop"
expect '"body": "AAAA"' -d '{"responseSize": 3}' "$interop/grpc.testing.TestService/UnaryCall"
expect '"body": "AAA="' -d '{"responseParameters": [{"size": 1}, {"size": 2}]}' \
    "$interop/grpc.testing.TestService/StreamingOutputCall"
expect SERVING -d '{"service": "grpc.testing.TestService"}' "$interop/grpc.health.v1.Health/Check"
expect '"body": "AAAA"' --reflect-protocol grpc-v1alpha -d '{"responseSize": 3}' \
    "$interop/grpc.testing.TestService/UnaryCall"
if ask -d '{}' "$interop/grpc.testing.TestService/UnimplementedCall" >"$TEST_TMPDIR/error" 2>&1; then
    fail "a method that nobody serves was answered"
fi
grep -q unimplemented "$TEST_TMPDIR/error" || fail "not unimplemented: $(cat "$TEST_TMPDIR/error")"

# It ends with its input. The variables of a coprocess go when it does: keep them.
input=${INTEROP[1]} pid=$INTEROP_PID
exec {input}>&-
wait "$pid" || fail "the interoperability server ended with $?"

# --- One of Muster's own ---

"$2" --port 0 --ready-fd 3 3>"$TEST_TMPDIR/address" 2>"$TEST_TMPDIR/log" &
assigner=$!
trap 'kill $assigner 2>/dev/null' EXIT
for ((i = 0; i < 400; i++)); do
    [ -s "$TEST_TMPDIR/address" ] && break
    kill -0 $assigner || fail "the assigner did not start: $(cat "$TEST_TMPDIR/log")"
    sleep 0.05
done
assigner_url=http://$(cat "$TEST_TMPDIR/address")
expect muster.v1.AssignerService --list-services "$assigner_url"
expect muster.v1.AssignerService/Gaps --list-methods "$assigner_url"
expect llm-inference -d '{}' "$assigner_url/muster.v1.AssignerService/Catalog"
kill -TERM $assigner
wait $assigner || fail "the assigner ended with $?: $(cat "$TEST_TMPDIR/log")"
trap - EXIT
