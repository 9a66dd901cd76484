#!/usr/bin/env bash
# Cached hits, every contender on core 0 with one worker, wrk on core 1, rounds interleaved; medians of requests per
# second of server CPU. Needs wrk, nginx and varnishd; what is missing is left out and said.
#
#   benches/versus/edge/run.sh [ROUNDS] [SECONDS]
set -uo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-9} seconds=${2:-2}
cargo build --release -q -p versus-edge || exit 1
bin=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
work=$(mktemp -d)
declare -A pid port
stop() { for server in "${!pid[@]}"; do kill "${pid[$server]}" 2>/dev/null; done; kill "$origin" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"; }
trap stop EXIT

taskset -c 1 "$bin/origin" 127.0.0.1:18000 & origin=$!
port=([pop]=18080 [hyper-fixed]=18081 [hyper-look-up]=18082)
taskset -c 0 "$bin/pop" 127.0.0.1:18080 127.0.0.1:18000 & pid[pop]=$!
taskset -c 0 "$bin/bare" 127.0.0.1:18081 fixed & pid[hyper-fixed]=$!
taskset -c 0 "$bin/bare" 127.0.0.1:18082 look-up & pid[hyper-look-up]=$!
nginx_server() { # name, port, sendfile
    mkdir -p "$work/$1/cache"
    cat >"$work/$1.conf" <<CONF
daemon off; worker_processes 1; pid $work/$1.pid; error_log /dev/null; user root;
events { worker_connections 1024; }
http {
    access_log off; sendfile $3; tcp_nopush off; keepalive_requests 1000000000;
    proxy_cache_path $work/$1/cache keys_zone=c:10m max_size=100m inactive=1d;
    server {
        listen 127.0.0.1:$2;
        location / { proxy_pass http://127.0.0.1:18000; proxy_http_version 1.1; proxy_cache c; add_header Cache-Status \$upstream_cache_status; }
    }
}
CONF
    taskset -c 0 nginx -c "$work/$1.conf" -p "$work" 2>/dev/null & pid[$1]=$!
    port[$1]=$2
}
if command -v nginx >/dev/null; then nginx_server nginx 18083 off; nginx_server nginx-sendfile 18084 on; else echo "no nginx"; fi
if command -v varnishd >/dev/null; then
    taskset -c 0 varnishd -F -n "$work/varnish" -a 127.0.0.1:18085 -b 127.0.0.1:18000 -s malloc,64m -p thread_pools=1 >/dev/null 2>&1 &
    pid[varnish]=$! port[varnish]=18085
else echo "no varnishd"; fi
sleep 3

# User and system time in ticks of a process and its children, dead or alive.
ticks() {
    local all=0 process
    for process in "$1" $(pgrep -P "$1") $(for child in $(pgrep -P "$1"); do pgrep -P "$child"; done); do
        [[ -r /proc/$process/stat ]] && all=$((all + $(awk '{print $14 + $15}' "/proc/$process/stat")))
    done
    echo "$all"
}
for path in 1k 64k; do
    for server in "${!port[@]}"; do for _ in 1 2 3; do curl -s -o /dev/null "http://127.0.0.1:${port[$server]}/$path"; done; done
    for ((round = 0; round < rounds; round++)); do
        for server in "${!port[@]}"; do
            before=$(ticks "${pid[$server]}")
            requests=$(taskset -c 1 wrk -t1 -c32 -d"${seconds}s" "http://127.0.0.1:${port[$server]}/$path" | awk '/requests in/ {print $1}')
            spent=$(($(ticks "${pid[$server]}") - before))
            echo "$path $server $requests $spent" >>"$work/results"
        done
    done
done
awk -v hz="$(getconf CLK_TCK)" '
    { rate[$1 " " $2] = rate[$1 " " $2] " " ($4 ? $3 * hz / $4 : 0) }
    END {
        for (key in rate) {
            n = split(rate[key], values, " ")
            for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (values[j] < values[i]) { t = values[i]; values[i] = values[j]; values[j] = t }
            median[key] = values[int((n + 1) / 2)]
        }
        for (key in median) {
            split(key, part, " ")
            base = median[part[1] " nginx"]; look = median[part[1] " hyper-look-up"]
            printf "%-4s %-15s %9.0f requests per CPU second   %5.2f x nginx   %5.2f x hyper with look-up\n", part[1], part[2], median[key], base ? median[key] / base : 0, look ? median[key] / look : 0
        }
    }' "$work/results" | sort
