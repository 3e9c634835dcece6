# Sourced by the tests that use buf: finds it, and the top of the source tree.
#
# buf is fetched by bazel/setup (npm ci) into node_modules, which is no part of the build;
# a file of the tree leads there.

set -eu

top=$(cd "$(dirname "$(readlink -f proto/buf.yaml)")/.." && pwd)
buf=$top/node_modules/.bin/buf
export HOME="$TEST_TMPDIR"

if ! [ -x "$buf" ]; then
    echo "buf is missing: run bazel/setup check, which fetches it into node_modules"
    exit 1
fi
