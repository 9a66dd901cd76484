#!/usr/bin/env python3
"""Authoritative servers side by side on loopback: ours, NSD and Knot, and a bare echo as the limit.

Each server runs on core 0 with one worker, the source (the `flood` program) on core 1. Rounds interleave the servers;
the table holds medians of the ratios within each round: answers per second, and server processor time an answer.

    cargo build --release            (here)
    cargo build --release --features tokio --example authority --example geo   (in pop-dns)
    ./servers.py [--rounds 5] [--seconds 2] [--names 100000] [--absent 5] [--only ours,nsd,knot,echo]
"""
import argparse, os, pathlib, shutil, signal, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent


def zone(path, names):
    with open(path, "w") as out:
        out.write("$ORIGIN bench.example.\n$TTL 300\n@ SOA ns1 hostmaster 1 7200 900 1209600 300\n@ NS ns1\n@ NS ns2\n")
        out.write("ns1 A 192.0.2.53\nns2 A 192.0.2.54\n")
        for number in range(names):
            out.write(f"h{number:06} A 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}\n")


def start(name, port, folder, zone_file, args):
    """The command of a server."""
    target = ROOT / "target/release/examples"
    if name == "ours":
        return [target / "authority", "--listen", f"127.0.0.1:{port}", "--zone", zone_file, "--origin", "bench.example"]
    if name == "geo":
        return [target / "geo", "--listen", f"127.0.0.1:{port}", "--bench", str(args.names)]
    if name == "echo":
        return [HERE.parent / "target/release/echo", f"127.0.0.1:{port}"]
    if name == "nsd":
        conf = folder / "nsd.conf"
        conf.write_text(f"""
server:
    ip-address: 127.0.0.1@{port}
    server-count: 1
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


def flood(port, pids, args, seconds):
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
    parser.add_argument("--extra", default="")
    args = parser.parse_args()
    names = args.only.split(",")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="versus-dns"))
    zone_file = folder / "bench.example.zone"
    zone(zone_file, args.names)
    servers, results = {}, {name: [] for name in names}
    try:
        for index, name in enumerate(names):
            port = 5311 + index
            (folder / name).mkdir()
            command = ["taskset", "-c", "0", *start(name, port, folder / name, zone_file, args)]
            process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=True)
            servers[name] = (process, port)
        for name, (process, port) in servers.items():
            for _ in range(200):
                time.sleep(0.05)
                if flood(port, [], args, 0.05)[2] > 0:
                    break
            else:
                raise SystemExit(f"{name} does not answer")
            time.sleep(0.2)
            print(f"{name:6} {resident(family(process.pid)):8.1f} MiB")
        for _ in range(args.rounds):
            for name, (process, port) in servers.items():
                results[name].append(flood(port, family(process.pid), args, args.seconds))
    finally:
        for process, _ in servers.values():
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
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
