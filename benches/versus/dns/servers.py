#!/usr/bin/env python3
"""Authoritative servers side by side on loopback: ours, NSD and Knot, and a bare echo as the limit.

Each server runs on core 0 with one worker, the source on core 1. Rounds interleave the servers; the table holds medians
of the ratios within each round: answers per second, and server processor time an answer. By UDP the source is the `flood`
program; by TCP and TLS it is dnsperf, which is the bottleneck itself, so that the processor time is what tells.

    cargo build --release            (here)
    cargo build --release -p pop-dns --all-features --example authority
    ./servers.py [--rounds 5] [--seconds 2] [--names 100000] [--absent 5] [--only ours,nsd,knot,echo]
    ./servers.py --over tcp          or --over tls (Knot 3.2 has no DNS over TLS)
    ./servers.py --extra '--sockets 64 --segments 1'      no two queries in a row from one port
    ./servers.py --echo '--segment'                       another design of the echo
    ./servers.py --memory --names 1000000                 seconds to the first answer, octets a record beyond an empty zone
"""
import argparse, os, pathlib, shutil, signal, socket, statistics, subprocess, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
# From the port of a server to that of its DNS over TLS.
TLS = 100


def zone(path, names):
    with open(path, "w") as out:
        out.write("$ORIGIN bench.example.\n$TTL 300\n@ SOA ns1 hostmaster 1 7200 900 1209600 300\n@ NS ns1\n@ NS ns2\n")
        out.write("ns1 A 192.0.2.53\nns2 A 192.0.2.54\n")
        for number in range(names):
            out.write(f"h{number:06} A 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}\n")


def start(name, port, folder, zone_file, args):
    """The command of a server."""
    target = ROOT / "target/release/examples"
    chain, private = folder.parent / "cert.pem", folder.parent / "key.pem"
    if name == "ours":
        command = [target / "authority", "--listen", f"127.0.0.1:{port}", "--zone", zone_file, "--origin", "bench.example"]
        secure = ["--tls", f"127.0.0.1:{port + TLS}", "--tls-cert", chain, "--tls-key", private]
        return command + (secure if args.over == "tls" else [])
    if name == "echo":
        return [HERE.parent / "target/release/echo", f"127.0.0.1:{port}", *args.echo.split()]
    if name == "nsd":
        conf = folder / "nsd.conf"
        tls = f'ip-address: 127.0.0.1@{port + TLS}\n    tls-port: {port + TLS}\n    tls-service-key: "{private}"\n    '
        secure = tls + f'tls-service-pem: "{chain}"' if args.over == "tls" else ""
        conf.write_text(f"""
server:
    ip-address: 127.0.0.1@{port}
    server-count: 1
    tcp-count: 200
    {secure}
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{folder}"
    zonelistfile: "{folder}/nsd.list"
    xfrdfile: "{folder}/nsd.xfrd"
    xfrdir: "{folder}"
    pidfile: "{folder}/nsd.pid"
    rrl-ratelimit: 0
    hide-version: yes
remote-control:
    control-enable: no
zone:
    name: bench.example
    zonefile: "{zone_file}"
""")
        return ["nsd", "-d", "-c", conf]
    if name == "knot":
        conf = folder / "knot.conf"
        conf.write_text(f"""
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}/knotdb"
zone:
  - domain: bench.example
    file: "{zone_file}"
    zonefile-sync: -1
    semantic-checks: off
""")
        return ["knotd", "-c", conf]
    raise SystemExit(f"unknown server {name}")


def family(pid):
    """A process and all below it."""
    pids = [pid]
    for other in pathlib.Path("/proc").iterdir():
        if other.name.isdigit():
            try:
                parent = int((other / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == pid:
                pids += family(int(other.name))
    return pids


def resident(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def processor_seconds(pids):
    fields = [pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def perform(port, pids, args, seconds):
    """dnsperf over streams: answers per second, processor nanoseconds an answer, answers, lost."""
    over = ["-m", "dot" if args.over == "tls" else "tcp"]
    port += TLS if args.over == "tls" else 0
    before = processor_seconds(pids)
    command = ["taskset", "-c", "1", "dnsperf", "-s", "127.0.0.1", "-p", port, "-d", args.questions, "-l",
               max(round(seconds), 1), "-c", 20, "-q", 1000, "-e", *over]
    out = subprocess.run([str(word) for word in command], capture_output=True, text=True).stdout
    spent = processor_seconds(pids) - before
    number = lambda mark: next((float(line.split(":")[1].split()[0]) for line in out.splitlines() if mark in line), 0.0)
    answers = number("Queries completed")
    return [number("Queries per second"), spent / max(answers, 1) * 1e9, answers, 0, 0, number("Queries lost")]


def launch(name, port, folder, zone_file, args, servers, key):
    """Starts a server; seconds until it answers, and its memory then, in MiB."""
    folder.mkdir()
    command = ["taskset", "-c", "0", *start(name, port, folder, zone_file, args)]
    began = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    servers[key] = (process, port)
    question = bytes.fromhex("000701000001000000000000") + b"\x05bench\x07example\0" + bytes.fromhex("00060001")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.01)
        while time.monotonic() - began < 60:
            try:
                client.sendto(question, ("127.0.0.1", port))
                answer = client.recv(1232)
                # An echo answers without records; a server that is still loading, with a failure.
                if answer[3] & 15 == 0 and (answer[7] > 0 or name == "echo"):
                    break
            except (TimeoutError, ConnectionRefusedError):
                pass
        else:
            raise SystemExit(f"{name} does not answer")
    seconds = time.monotonic() - began
    time.sleep(1)
    return seconds, resident(family(process.pid))


def flood(port, pids, args, seconds):
    """Answers per second, processor nanoseconds an answer, NOERROR, NXDOMAIN, others, lost."""
    command = ["taskset", "-c", "1", HERE.parent / "target/release/flood", "--server", f"127.0.0.1:{port}",
               "--names", str(args.names), "--absent", str(args.absent), "--seconds", str(seconds),
               "--window", str(args.window)]
    command += [word for pid in pids for word in ("--pid", str(pid))]
    command += args.extra.split()
    line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return [float(word) for word in line]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--absent", type=int, default=5)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--only", default="echo,ours,nsd,knot")
    parser.add_argument("--extra", default="", help="options of flood")
    parser.add_argument("--echo", default="", help="options of echo")
    parser.add_argument("--over", choices=["udp", "tcp", "tls"], default="udp")
    parser.add_argument("--memory", action="store_true", help="memory and loading alone")
    args = parser.parse_args()
    cannot = {"udp": [], "tcp": ["echo"], "tls": ["echo", "knot"]}[args.over]
    names = [name for name in args.only.split(",") if name not in cannot]
    source = flood if args.over == "udp" else perform
    folder = pathlib.Path(tempfile.mkdtemp(prefix="versus-dns"))
    if args.over == "tls":
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=bench.example", "-keyout", folder / "key.pem", "-out",
                        folder / "cert.pem"], check=True, capture_output=True)
    if args.over != "udp":
        args.questions = folder / "questions"
        letter = lambda number: "x" if number * 100 // args.names < args.absent else "h"
        lines = [f"{letter(number)}{number:06}.bench.example A\n" for number in range(args.names)]
        args.questions.write_text("".join(lines[number * 7919 % args.names] for number in range(args.names)))
    zone_file = folder / "bench.example.zone"
    zone(zone_file, args.names)
    servers, results, empty = {}, {name: [] for name in names}, {}
    try:
        if args.memory:
            nothing = folder / "empty.zone"
            zone(nothing, 0)
            for index, name in enumerate(names):
                place = folder / f"{name}-empty"
                empty[name] = launch(name, 5351 + index, place, nothing, args, servers, place.name)[1]
        for index, name in enumerate(names):
            seconds, mebibytes = launch(name, 5311 + index, folder / name, zone_file, args, servers, name)
            each = f", {(mebibytes - empty[name]) * 1048576 / args.names:.0f} octets a record" if name in empty else ""
            print(f"{name:6} answers after {seconds:.2f} s, {mebibytes:.1f} MiB{each}")
        for _ in range(0 if args.memory else args.rounds):
            for name in names:
                process, port = servers[name]
                results[name].append(source(port, family(process.pid), args, args.seconds))
    finally:
        for process, _ in servers.values():
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    if args.memory:
        return
    median = lambda values: statistics.median(values)
    print(f"{'':6} {'answers/s':>10} {'ns each':>8} {'noerror':>8} {'nxdomain':>8} {'other':>6} {'lost':>5}")
    for name, rounds in results.items():
        print(f"{name:6} " + "{:10.0f} {:8.0f} {:8.0f} {:8.0f} {:6.0f} {:5.0f}".format(
            *(median([round[column] for round in rounds]) for column in range(6))))
    first = "ours" if "ours" in results else names[0]
    for name in names:
        if name != first:
            speed = median([ours[0] / theirs[0] for ours, theirs in zip(results[first], results[name])])
            cost = median([ours[1] / theirs[1] for ours, theirs in zip(results[first], results[name])])
            print(f"{first} / {name}: answers {speed:.2f}, processor time an answer {cost:.2f}")


main()
