#!/bin/sh
# Runs tests of node:test; each argument is one file.
set -eu
if ! command -v node >/dev/null; then
    echo "node is missing: run bazel/setup check, which installs it"
    exit 1
fi
for file in "$@"; do
    node --test "$(readlink -f "$file")"
done
