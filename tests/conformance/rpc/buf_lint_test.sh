#!/bin/sh
# The protocol keeps buf's rules of style, and every part of it has a comment.
. tests/conformance/rpc/buf.sh
"$buf" lint proto
