#!/usr/bin/env bash
# User instructions a cached hit of 1 KiB costs a server, one request at a time: the PoP, and hyper with and without a
# look-up. Needs valgrind and python3.
#
#   benches/versus/edge/instructions.sh [REQUESTS]
#
# Only the requests are counted: counting begins on the running, warm server. To take the difference of two whole runs
# instead is wrong by thousands of instructions a request: the clock of the PoP calibrates itself at the start, for a time
# that is never the same.
set -euo pipefail
cd "$(dirname "$0")/.."
requests=${1:-1000}
cargo build --release -q -p versus-edge
bin=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
work=$(mktemp -d)
"$bin/origin" 127.0.0.1:18000 & origin=$!
trap 'kill "$origin" 2>/dev/null; rm -rf "$work"' EXIT

count() { # name, port, command
    local name=$1 port=$2
    shift 2
    valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file="$work/$name" "$@" >/dev/null 2>&1 & server=$!
    python3 - "$port" "$requests" "$server" <<'PYTHON'
import socket, subprocess, sys, time

port, requests, server = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for _ in range(600):
    try:
        client = socket.create_connection(("127.0.0.1", port), timeout=30)
        break
    except OSError:
        time.sleep(0.1)

def ask(times):
    for _ in range(times):
        client.sendall(b"GET /1k HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < 1024:
            answer += client.recv(65536)

def control(word):
    subprocess.run(["callgrind_control", *word, server], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

ask(3)
time.sleep(0.5)
control(["-i", "on"])
ask(10)
control(["-z"])
ask(requests)
control(["-d"])
PYTHON
    kill "$server"
    wait "$server" 2>/dev/null || true
    awk -v name="$name" -v requests="$requests" '/^summary:/ { printf "%-14s %8.0f instructions a hit\n", name, $2 / requests }' "$work/$name.1"
}

count pop 18090 "$bin/pop" 127.0.0.1:18090 127.0.0.1:18000
count hyper-look-up 18091 "$bin/bare" 127.0.0.1:18091 look-up
count hyper-fixed 18092 "$bin/bare" 127.0.0.1:18092 fixed
