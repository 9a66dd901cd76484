#!/usr/bin/env python3
"""Forwarders side by side on loopback: ours and dnsdist, both with a cache and one worker.

Hot: all names are in the cache. The forwarder runs on core 0, the source (`flood`) on core 1; rounds interleave the
forwarders, the table holds medians, the last lines the medians of the ratios within each round.

Cold: each name is asked for once, so each query goes upstream (our authority, core 1) and comes back. The saturation of
a forwarder is the most that comes back with 256 queries under way; then dnsperf asks at 0.8 of it, and what is not answered
is lost.

    cargo build --release            (here)
    cargo build --release -p pop-dns --features tokio,tls --example authority --example forward
    ./forwarders.py [--rounds 5] [--seconds 2]
"""
import argparse, os, pathlib, re, shutil, signal, statistics, subprocess, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
EXAMPLES = ROOT / "target/release/examples"
UPSTREAM = 5331


def zone(path, names):
    with open(path, "w") as out:
        out.write("$ORIGIN bench.example.\n$TTL 86400\n@ SOA ns1 hostmaster 1 7200 900 1209600 3600\n@ NS ns1\n")
        out.write("ns1 A 192.0.2.53\n*.cold A 192.0.2.80\n")
        for number in range(names):
            out.write(f"h{number:06} A 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}\n")


def command(name, port, folder):
    if name == "ours":
        return [EXAMPLES / "forward", "--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{UPSTREAM}",
                "--allow", "127.0.0.0/8", "--cache", "256"]
    conf = folder / "dnsdist.conf"
    conf.write_text(f"""
setLocal("127.0.0.1:{port}", {{reusePort=true}})
setACL({{"127.0.0.0/8"}})
newServer({{address="127.0.0.1:{UPSTREAM}", sockets=16, checkInterval=60}})
setSecurityPollSuffix("")
cache = newPacketCache(1000000, {{maxTTL=86400, minTTL=0, numberOfShards=16}})
getPool(""):setCache(cache)
""")
    return ["dnsdist", "--supervised", "--disable-syslog", "-C", conf]


def spawn(core, words, log):
    return subprocess.Popen(["taskset", "-c", core, *map(str, words)], stdout=log, stderr=log, start_new_session=True)


def flood(port, args, pid, label="h"):
    words = ["taskset", "-c", "1", HERE.parent / "target/release/flood", "--server", f"127.0.0.1:{port}", "--names",
             str(args.names), "--absent", "5", "--seconds", str(args.seconds), "--window", "256", "--label", label, "--pid",
             str(pid)]
    line = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout.split()
    return [float(word) for word in line]


def dnsperf(port, queries, seconds, rate=None, under_way=256):
    words = ["taskset", "-c", "1", "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(queries), "-l", str(seconds),
             "-q", str(under_way), "-t", "2", "-n", "1", "-c", "8"]
    words += ["-Q", str(int(rate))] if rate else []
    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    number = lambda pattern: float(re.search(pattern, out).group(1))
    return {"rate": number(r"Queries per second:\s+([\d.]+)"), "sent": number(r"Queries sent:\s+(\d+)"),
            "lost": number(r"Queries lost:\s+(\d+)"), "latency": number(r"Average Latency \(s\):\s+([\d.]+)"),
            "codes": re.search(r"Response codes:\s+(.*)", out).group(1)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--names", type=int, default=20_000)
    parser.add_argument("--only", default="ours,dnsdist")
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="versus-forward"))
    log = open(folder / "log", "wb")
    running, hot, cold = [], {}, {}
    try:
        zone(folder / "bench.example.zone", args.names)
        running.append(spawn("1", [EXAMPLES / "authority", "--listen", f"127.0.0.1:{UPSTREAM}", "--zone",
                                   folder / "bench.example.zone"], log))
        forwarders = {}
        for index, name in enumerate(args.only.split(",")):
            port = UPSTREAM + 1 + index
            process = spawn("0", command(name, port, folder), log)
            running.append(process)
            forwarders[name] = (port, process.pid)
        time.sleep(2)
        for name, (port, pid) in forwarders.items():
            # All names once, so that all are in the cache.
            once = folder / "once"
            once.write_text("".join(f"{letter}{number:06}.bench.example A\n" for letter in "hx"
                                    for number in range(args.names)))
            print(name, "warmed:", dnsperf(port, once, 30)["codes"])
        for _ in range(args.rounds):
            for name, (port, pid) in forwarders.items():
                hot.setdefault(name, []).append(flood(port, args, pid))
        unique = 0
        for round in range(args.rounds):
            for name, (port, pid) in forwarders.items():
                queries = folder / f"cold-{name}-{round}"
                queries.write_text("".join(f"{unique + n}.cold.bench.example A\n" for n in range(400_000)))
                unique += 400_000
                full = dnsperf(port, queries, args.seconds)
                text = "".join(f"{unique + n}.cold.bench.example A\n" for n in range(400_000))
                queries.write_text(text)
                unique += 400_000
                part = dnsperf(port, queries, args.seconds, 0.8 * full["rate"], under_way=4096)
                cold.setdefault(name, []).append((full, part))
                queries.unlink()
    finally:
        for process in running:
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                process.kill()
        log.close()
        print((folder / "log").read_text()[-1500:])
        shutil.rmtree(folder, ignore_errors=True)
    median = statistics.median
    for name, rounds in hot.items():
        print(f"hot  {name:8} {median(r[0] for r in rounds):9.0f} answers/s {median(r[1] for r in rounds):6.0f} ns each, "
              f"lost {median(r[5] for r in rounds):.0f}")
    for name, rounds in cold.items():
        print(f"cold {name:8} {median(f['rate'] for f, _ in rounds):9.0f} answers/s at saturation; at 0.8 of it "
              f"{median(p['lost'] for _, p in rounds):.0f} lost of {median(p['sent'] for _, p in rounds):.0f} (worst round "
              f"{max(p['lost'] for _, p in rounds):.0f}), latency {1e3 * median(p['latency'] for _, p in rounds):.2f} ms")
        print(f"     {rounds[-1][1]['codes']}")
    if {"ours", "dnsdist"} <= hot.keys():
        pairs = list(zip(hot["ours"], hot["dnsdist"]))
        print(f"ours / dnsdist, hot: answers {median(o[0] / t[0] for o, t in pairs):.2f}, processor time an answer "
              f"{median(o[1] / t[1] for o, t in pairs):.2f}")
        pairs = list(zip(cold["ours"], cold["dnsdist"]))
        print(f"ours / dnsdist, cold: answers {median(o[0]['rate'] / t[0]['rate'] for o, t in pairs):.2f}")


main()
