#!/usr/bin/env python3
"""What the announcement adapters write, against the BGP speakers that they write for, on loopback.

    cargo build -p pop-route --example announce
    pop-route/tests/interop.py        exit code 0: all of it worked; 1: something did not; 77: a program is missing

GoBGP, BIRD and ExaBGP, each AS 64500 at an address of its own and a port that needs no privilege, peer with a second
GoBGP (AS 64999). Each is told to announce, to prepend, to tag, and to withdraw; what the peer heard is compared.
"""
import json, os, pathlib, shutil, signal, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLES = pathlib.Path(os.environ.get("EXAMPLES", ROOT / "target/debug/examples"))
OURS, THEIRS = 64500, 64999
PEER, PEER_PORT = "127.0.2.1", 17901
API = {"peer": 17911, "gobgp": 17912}
AT = {"gobgp": "127.0.1.1", "bird": "127.0.3.1", "exabgp": "127.0.4.1"}
V4 = ["192.0.2.0/24", "198.51.100.0/24"]
V6 = ["2001:db8:7::/48"]
# Said for both families: a loopback address is no next hop, and an IPv4 session has none for IPv6.
HOP_V4, HOP_V6 = "203.0.113.1", "2001:db8::1"
WAIT_SECONDS = 60
# What every neighbour of a gobgpd has here: both families, and loopback addresses that are no direct link.
GOBGP_SESSION = """  [neighbors.ebgp-multihop.config]
    enabled = true
    multihop-ttl = 8
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
"""


class Processes:
    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, name, *command, environment=None):
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, start_new_session=True,
                                   env={**os.environ, **(environment or {})}, cwd=self.folder)
        self.running.append(process)

    def stop(self):
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def adapter(speaker, *words):
    return run(EXAMPLES / "announce", "--for", speaker, "--as", OURS, *words)


def heard(speaker):
    """What the peer has from a speaker: by prefix, the AS path and the communities."""
    found = {}
    for family in ("ipv4", "ipv6"):
        done = subprocess.run(["gobgp", "-u", PEER, "-p", str(API["peer"]), "neighbor", AT[speaker], "adj-in", "-a",
                               family, "-j"], capture_output=True, text=True, timeout=30)
        try:
            routes = json.loads(done.stdout)
        except ValueError:
            continue
        # By prefix; while the session is not up, an object that says so instead.
        for path in (path for paths in routes.values() if isinstance(paths, list) for path in paths):
            attributes = {attribute["type"]: attribute for attribute in path["attrs"]}
            systems = [system for segment in attributes[2]["as_paths"] for system in segment["asns"]]
            tags = [(tag >> 16, tag & 0xFFFF) for tag in attributes.get(8, {}).get("communities", [])]
            found[path["nlri"]["prefix"]] = (systems, tags)
    return found


def wait_for(what, condition):
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"{what}: it did not come")


def expect(speaker, what, path, tags=()):
    wanted = {prefix: ([OURS] * path, list(tags)) for prefix in V4 + V6} if path else {}
    try:
        wait_for(what, lambda: heard(speaker) == wanted)
    except AssertionError as late:
        raise AssertionError(f"{late}\n  wanted {wanted}\n  heard  {heard(speaker)}") from None
    print(f"ok  {speaker}: {what}")


def gobgp_peer(processes, folder):
    neighbours = "".join(f"""
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{address}"
    peer-as = {OURS}
  [neighbors.transport.config]
    local-address = "{PEER}"
    passive-mode = true
{GOBGP_SESSION}""" for address in AT.values())
    (folder / "peer.toml").write_text(f"""[global.config]
  as = {THEIRS}
  router-id = "{PEER}"
  port = {PEER_PORT}
  local-address-list = ["{PEER}"]
{neighbours}""")
    processes.start("peer", "gobgpd", "-f", "peer.toml", "--api-hosts", f"{PEER}:{API['peer']}", "--pprof-disable")


def speak_gobgp(processes, folder):
    (folder / "gobgp.toml").write_text(f"""[global.config]
  as = {OURS}
  router-id = "{AT['gobgp']}"
  port = -1
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{PEER}"
    peer-as = {THEIRS}
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
  [neighbors.transport.config]
    local-address = "{AT['gobgp']}"
    remote-port = {PEER_PORT}
{GOBGP_SESSION}""")
    address = AT["gobgp"]
    processes.start("gobgp", "gobgpd", "-f", "gobgp.toml", "--api-hosts", f"{address}:{API['gobgp']}", "--pprof-disable")

    def tell(*words):
        calls = adapter("gobgp", "--next-hop", HOP_V4, *words, *V4) + adapter("gobgp", "--next-hop", HOP_V6, *words, *V6)
        for call in calls.splitlines():
            run("gobgp", "-u", address, "-p", API["gobgp"], *call.split("\t"))

    wait_for("gobgpd", lambda: subprocess.run(["gobgp", "-u", address, "-p", str(API["gobgp"]), "global"],
                                              capture_output=True).returncode == 0)
    return tell


def speak_bird(processes, folder):
    family = lambda name, hop: f"  {name} {{ import none; export where pop_route_export(); next hop address {hop}; }};\n"
    (folder / "bird.conf").write_text(f"""router id {AT['bird']};
include "{folder}/pop-route.conf";
protocol device {{}}
protocol bgp peer {{
  local {AT['bird']} port 17903 as {OURS};
  neighbor {PEER} port {PEER_PORT} as {THEIRS};
  multihop;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
{family("ipv4", HOP_V4)}{family("ipv6", HOP_V6)}}}
""")
    write = lambda *words: (folder / "pop-route.conf").write_text(adapter("bird", *words, *V4, *V6))
    write("--withdraw")
    control = folder / "bird.ctl"
    processes.start("bird", "bird", "-f", "-c", folder / "bird.conf", "-s", control)
    wait_for("bird", control.exists)

    def tell(*words):
        write(*words)
        said = run("birdc", "-s", control, "configure")
        assert "Reconfigur" in said, said

    return tell


def speak_exabgp(processes, folder):
    fifo = folder / "exabgp.fifo"
    os.mkfifo(fifo)
    (folder / "exabgp.conf").write_text(f"""process pop-route {{ run /bin/cat {fifo}; encoder text; }}
neighbor {PEER} {{
  router-id {AT['exabgp']};
  local-address {AT['exabgp']};
  local-as {OURS};
  peer-as {THEIRS};
  connect {PEER_PORT};
  outgoing-ttl 8;
  family {{ ipv4 unicast; ipv6 unicast; }}
  api {{ processes [ pop-route ]; }}
}}
""")
    # Reading and writing: the pipe stays open whoever comes and goes.
    pipe = open(fifo, "r+b", buffering=0)
    settings = {"exabgp_daemon_user": "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody"),
                "exabgp_daemon_drop": "false", "exabgp_api_ack": "false", "exabgp_api_cli": "false",
                "exabgp_log_destination": "stdout", "exabgp_tcp_attempts": "0"}
    processes.start("exabgp", "exabgp", folder / "exabgp.conf", environment=settings)

    def tell(*words):
        lines = adapter("exabgp", "--next-hop", HOP_V4, *words, *V4) + adapter("exabgp", "--next-hop", HOP_V6, *words, *V6)
        pipe.write(lines.encode())

    return tell


def main():
    needed = ["gobgp", "gobgpd", "bird", "birdc", "exabgp"]
    missing = [name for name in needed if not shutil.which(name)]
    if missing:
        print(f"missing: {' '.join(missing)} (Debian packages gobgpd, bird2, exabgp)")
        return 77
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pop-route-interop."))
    processes = Processes(folder)
    try:
        gobgp_peer(processes, folder)
        speakers = {"gobgp": speak_gobgp, "bird": speak_bird, "exabgp": speak_exabgp}
        for speaker, speak in speakers.items():
            tell = speak(processes, folder)
            tell()
            expect(speaker, "announced", 1)
            tell("--prepend", 2)
            expect(speaker, "prepended twice", 3)
            tell("--tag", f"{THEIRS}:80")
            expect(speaker, "tagged", 1, [(THEIRS, 80)])
            tell("--withdraw")
            expect(speaker, "withdrawn", 0)
            tell()
            expect(speaker, "announced again", 1)
    except (AssertionError, subprocess.TimeoutExpired) as failure:
        print(f"FAILED  {failure}")
        for log in sorted(folder.glob("*.log")):
            print(f"---- {log.name}\n{log.read_text(errors='replace')[-1500:]}")
        return 1
    finally:
        processes.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
