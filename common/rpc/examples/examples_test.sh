#!/bin/bash
# The two examples understand each other:  examples_test.sh SERVER CLIENT
set -eu
coproc SERVER { "$1" 127.0.0.1:0; }
trap 'kill $SERVER_PID' EXIT
read -r line <&"${SERVER[0]}"
"$2" "127.0.0.1:${line##* }" >"$TEST_TMPDIR/said"
cat "$TEST_TMPDIR/said"
grep -cE '^now [0-9]{13}$' "$TEST_TMPDIR/said" | grep -qx 1
grep -cE '^tick [0-9]{13}$' "$TEST_TMPDIR/said" | grep -qx 3
