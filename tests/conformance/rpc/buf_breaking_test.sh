#!/bin/sh
# Nothing that a client may rely on is gone or has changed since the baseline.
#
# proto/baseline.binpb is the protocol as it was last promised. After a release, or to accept
# a change that breaks clients, write it again:
#     cd proto && ../node_modules/.bin/buf build --exclude-source-info -o baseline.binpb
. tests/conformance/rpc/buf.sh
"$buf" breaking proto --against proto/baseline.binpb
# The check can fail: a field that is gone is noticed.
mkdir "$TEST_TMPDIR/changed"
cp -RL proto/. "$TEST_TMPDIR/changed"
sed -i '/^  string tunnel_url = 2;/d' "$TEST_TMPDIR/changed/muster/v1/worker.proto"
if "$buf" breaking "$TEST_TMPDIR/changed" --against proto/baseline.binpb >"$TEST_TMPDIR/found"; then
    echo "a field was removed and buf did not notice"
    exit 1
fi
grep -q tunnel_url "$TEST_TMPDIR/found"
