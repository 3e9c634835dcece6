#!/usr/bin/python3
"""Stands in for cloudflared: speaks its command line and its output.

Beside it lies the file `runs`: a list of [lines to write, exit code or null, port or null]. Each start does the next of
them, and the last one from then on. With a port it is a tunnel, from that port of the loopback to --url. `calls` gets
a line for each start."""
import json
import os
import socket
import sys
import threading
import time


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


def relay(port, origin):
    host, _, origin_port = origin.split("//")[1].rpartition(":")
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        client = listener.accept()[0]
        try:
            server = socket.create_connection((host, int(origin_port)))
        except OSError:
            client.close()
            continue
        for ends in ((client, server), (server, client)):
            threading.Thread(target=pump, args=ends, daemon=True).start()


folder = os.path.dirname(os.path.abspath(__file__))
with open(folder + "/calls", "a") as calls:
    calls.write(json.dumps([os.getpid(), sys.argv[1:], os.environ.get("TUNNEL_TOKEN")]) + "\n")
with open(folder + "/calls") as calls:
    count = len(calls.readlines())
with open(folder + "/runs") as file:
    runs = json.load(file)
lines, code, port = (runs[min(count, len(runs)) - 1] + [None])[:3]
if port is not None:
    threading.Thread(target=relay, args=(port, sys.argv[sys.argv.index("--url") + 1]), daemon=True).start()
for line in lines:
    print("2026-01-01T00:00:00Z", line, file=sys.stderr, flush=True)
if code is not None:
    sys.exit(code)
while True:
    time.sleep(1)
