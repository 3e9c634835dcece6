#!/bin/sh
# Runs a Python program of this folder with the system's Python, which has grpcio:
#     run_python.sh PROGRAM [ARGUMENT...]
exec /usr/bin/python3 -B "$@"
