#!/usr/bin/env python3
"""Real servers and clients against ours, on loopback: NSD and Knot as primaries and as secondaries of ours, whole zones
and changes, signed; dig, kdig and drill as clients of the authority and of the forwarder, by UDP, TCP, TLS and HTTPS;
what we transfer as named-checkzone reads it.

    cargo build -p pop-dns --all-features --examples
    pop-dns/tests/interop.py          exit code 0: all of it worked; 1: something did not; 77: a program is missing

Debian packages: nsd knot knot-dnsutils bind9-dnsutils bind9-utils ldnsutils openssl. EXAMPLES names the folder of the
examples if they are not in target/debug/examples.
"""
import base64, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLES = pathlib.Path(os.environ.get("EXAMPLES", ROOT / "target/debug/examples"))
SECRET = b"a secret that all of them share!"
KEY64 = base64.b64encode(SECRET).decode()
OURS = f"hmac-sha256:transfer:{SECRET.hex()}"
DIG_KEY = f"hmac-sha256:transfer:{KEY64}"
HOSTS = 5000
# How long anything may take on a machine with other things to do.
PATIENCE = 30
PROGRAMS = ["nsd", "knotd", "knotc", "dig", "kdig", "drill", "named-checkzone", "openssl"]
EXAMPLE_NAMES = ["authority", "secondary", "forward", "dq"]


def zone(path, serial, hosts):
    lines = ["$ORIGIN example.org.", "$TTL 300", f"@ SOA ns host {serial} 3600 1 86400 300", "@ NS ns", "ns A 192.0.2.53",
             "@ MX 10 mail", "mail AAAA 2001:db8::25", 'text TXT "a b" "c;d"', "*.wild CNAME www", "www A 192.0.2.1",
             "sub NS ns.sub", "ns.sub A 192.0.2.54", "svc HTTPS 1 . alpn=h2,h3 port=8443"]
    lines += [f"h{host} A 10.0.{host >> 8}.{host & 255}" for host in hosts]
    path.write_text("\n".join(lines) + "\n")


class Processes:
    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, start_new_session=True)
        self.running.append(process)
        return process

    def stop(self):
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout


def ports(number):
    """Ports that are free for UDP and TCP now."""
    found = []
    while len(found) < number:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in found:
                found.append(port)
    return found


def certificate(folder):
    certificate, private = folder / "cert.pem", folder / "key.pem"
    if not certificate.exists():
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=dns.example", "-addext", "subjectAltName=DNS:dns.example", "-keyout", private, "-out", certificate)
    return certificate, private


def transfer(port, key=True):
    """All records as dig shows them, sorted; the SOA comes twice."""
    command = ["dig", "@127.0.0.1", "-p", port, "example.org", "AXFR", "+noall", "+answer", "+onesoa"]
    out = run(*command, *(["-y", DIG_KEY] if key else []))
    lines = [" ".join(line.split()) for line in out.splitlines() if line and not line.startswith(";")]
    return sorted(line for line in lines if " TSIG " not in line)


def serial(port):
    fields = run("dig", "@127.0.0.1", "-p", port, "example.org", "SOA", "+short", "+tries=1", "+time=1").split()
    return int(fields[2]) if len(fields) == 7 else None


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what}: it did not come")


def check(what, one, two):
    if one != two:
        raise AssertionError(f"{what}:\n  {one}\n  {two}")
    print(f"ok  {what}")


def nsd(processes, folder, name, port, pattern):
    place = folder / name
    place.mkdir(exist_ok=True)
    conf = place / "nsd.conf"
    conf.write_text(f"""
server:
    ip-address: 127.0.0.1@{port}
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{place}"
    zonelistfile: "{place}/list"
    xfrdfile: "{place}/state"
    xfrdir: "{place}"
    pidfile: "{place}/pid"
remote-control:
    control-enable: no
key:
    name: transfer
    algorithm: hmac-sha256
    secret: "{KEY64}"
zone:
    name: example.org
{pattern}""")
    return processes.start(name, "nsd", "-d", "-c", conf)


def nsd_is_our_primary(processes, folder):
    primary, ours, theirs = ports(3)
    file = folder / "nsd.zone"
    zone(file, 1, range(HOSTS))
    server = nsd(processes, folder, "nsd-primary", primary, f"""
    zonefile: "{file}"
    notify: 127.0.0.1@{ours} NOKEY
    provide-xfr: 127.0.0.1 transfer
""")
    wait_for("NSD", lambda: serial(primary) == 1)
    processes.start("secondary-nsd", EXAMPLES / "secondary", "--listen", f"127.0.0.1:{ours}", "--zone", "example.org",
                    "--primary", f"127.0.0.1:{primary}", "--key", OURS)
    wait_for("the zone of NSD", lambda: serial(ours) == 1)
    records = transfer(primary)
    assert len(records) > HOSTS
    check("NSD's zone, signed, is ours; dig transfers it from us", transfer(ours), records)
    check("who does not sign gets nothing", transfer(ours, key=False), [])
    zone(file, 2, range(10, HOSTS + 10))
    server.send_signal(signal.SIGHUP)
    wait_for("the new zone of NSD", lambda: serial(ours) == 2)
    check("NSD's notification brings the new zone", transfer(ours), transfer(primary))
    # And on: NSD as a secondary of ours.
    nsd(processes, folder, "nsd-secondary", theirs, f"""
    request-xfr: AXFR 127.0.0.1@{ours} transfer
    allow-notify: 127.0.0.1 NOKEY
    provide-xfr: 127.0.0.1 transfer
""")
    wait_for("NSD as our secondary", lambda: serial(theirs) == 2)
    check("NSD as a secondary of ours", transfer(theirs), transfer(ours))


def knot(folder, name, port, remote, zone_lines, acl):
    """The configuration of a Knot that has one zone, and one neighbour who shares its key."""
    place = folder / name
    (place / "db").mkdir(parents=True)
    conf = place / "knot.conf"
    conf.write_text(f"""
server:
    rundir: "{place}"
    listen: 127.0.0.1@{port}
log:
  - target: stderr
    any: info
database:
    storage: "{place}/db"
key:
  - id: transfer
    algorithm: hmac-sha256
    secret: {KEY64}
remote:
  - id: ours
    address: 127.0.0.1@{remote}
    key: transfer
acl:
{acl}
zone:
  - domain: example.org
{zone_lines}""")
    return conf


TRANSFERS = """  - id: transfers
    action: transfer
    key: transfer"""


def knot_is_our_primary(processes, folder):
    primary, ours = ports(2)
    file = folder / "example.org.knot"
    zone(file, 1, range(HOSTS))
    conf = knot(folder, "knot", primary, ours, f"""    file: "{file}"
    zonefile-load: difference
    journal-content: changes
    zonefile-sync: -1
    notify: ours
    acl: transfers
""", TRANSFERS)
    processes.start("knot", "knotd", "-c", conf)
    wait_for("Knot", lambda: serial(primary) == 1)
    processes.start("secondary-knot", EXAMPLES / "secondary", "--listen", f"127.0.0.1:{ours}", "--zone", "example.org",
                    "--primary", f"127.0.0.1:{primary}", "--key", OURS)
    wait_for("the zone of Knot", lambda: serial(ours) == 1)
    check("Knot's zone, signed, is ours", transfer(ours), transfer(primary))
    for number in (2, 3):
        zone(file, number, range(number, HOSTS + number))
        run("knotc", "-c", conf, "-b", "zone-reload", "example.org")
        wait_for("the changed zone of Knot", lambda: serial(ours) == number)
    check("Knot's changes lead to Knot's zone", transfer(ours), transfer(primary))
    log = (folder / "knot.log").read_text()
    check("they came as changes (IXFR)", "IXFR, outgoing" in log and "finished" in log, True)


def clients_of_the_forwarder(processes, folder):
    upstream, forwarder, tls = ports(3)
    file = folder / "example.org.zone"
    zone(file, 1, range(100))
    chain, private = certificate(folder)
    processes.start("authority", EXAMPLES / "authority", "--listen", f"127.0.0.1:{upstream}", "--zone", file)
    wait_for("the authority", lambda: serial(upstream) == 1)
    processes.start("forward", EXAMPLES / "forward", "--listen", f"127.0.0.1:{forwarder}", "--upstream",
                    f"127.0.0.1:{upstream}", "--allow", "127.0.0.0/8", "--tls", f"127.0.0.1:{tls}",
                    "--tls-cert", chain, "--tls-key", private)
    wait_for("the forwarder", lambda: serial(forwarder) == 1)
    here = ["@127.0.0.1", "-p", forwarder, "h7.example.org", "A"]
    for what, command in [
        ("dig", ["dig", *here, "+short"]),
        ("dig +tcp", ["dig", *here, "+short", "+tcp"]),
        ("dig without EDNS", ["dig", *here, "+short", "+noedns"]),
        ("kdig", ["kdig", *here, "+short"]),
        ("kdig +tls", ["kdig", "@127.0.0.1", "-p", tls, "h7.example.org", "A", "+short", "+tls",
                       f"+tls-ca={chain}", "+tls-hostname=dns.example"]),
        ("kdig +tls +padding", ["kdig", "@127.0.0.1", "-p", tls, "h7.example.org", "A", "+short", "+tls", "+padding"]),
        ("drill", ["drill", "-Q", "@127.0.0.1", "-p", forwarder, "h7.example.org", "A"]),
        ("dq", [EXAMPLES / "dq", f"@127.0.0.1:{forwarder}", "h7.example.org", "+short"]),
        ("dq +tcp", [EXAMPLES / "dq", f"@127.0.0.1:{forwarder}", "h7.example.org", "+short", "+tcp"]),
    ]:
        check(what, run(*command).split(), ["10.0.0.7"])
    nxdomain = run("dig", "@127.0.0.1", "-p", forwarder, "none.example.org", "A")
    check("dig is told NXDOMAIN, and by which SOA", "NXDOMAIN" in nxdomain and "SOA" in nxdomain, True)
    https = run("kdig", "@127.0.0.1", "-p", forwarder, "svc.example.org", "HTTPS", "+short").strip()
    check("kdig reads our HTTPS records", https.replace('"', ""), "1 . alpn=h2,h3 port=8443")


def secondaries_and_clients_of_the_authority(processes, folder):
    ours, tls, https, knot_port, nsd_port = ports(5)
    file = folder / "ours.zone"
    zone(file, 1, range(HOSTS))
    chain, private = certificate(folder)
    server = processes.start("authority-primary", EXAMPLES / "authority", "--listen", f"127.0.0.1:{ours}", "--zone", file,
                             "--origin", "example.org", "--key", OURS, "--allow", "127.0.0.0/8",
                             "--notify", f"127.0.0.1:{knot_port}", "--notify", f"127.0.0.1:{nsd_port}",
                             "--tls", f"127.0.0.1:{tls}", "--https", f"127.0.0.1:{https}", "--server-id", "fra1",
                             "--tls-cert", chain, "--tls-key", private)
    wait_for("our authority", lambda: serial(ours) == 1)
    asked = ["h7.example.org", "A", "+short"]
    inside = [f"+tls-ca={chain}", "+tls-hostname=dns.example"]
    for what, command in [
        ("dig", ["dig", "@127.0.0.1", "-p", ours, *asked]),
        ("dig +tcp +keepopen", ["dig", "@127.0.0.1", "-p", ours, "+tcp", "+keepopen", *asked]),
        ("dig +cookie +nsid +subnet", ["dig", "@127.0.0.1", "-p", ours, "+cookie", "+nsid", "+subnet=192.0.2.0/24", *asked]),
        ("dig, signed", ["dig", "@127.0.0.1", "-p", ours, "-y", DIG_KEY, *asked]),
        ("kdig", ["kdig", "@127.0.0.1", "-p", ours, *asked]),
        ("kdig +tcp, signed", ["kdig", "@127.0.0.1", "-p", ours, "+tcp", "-y", DIG_KEY, *asked]),
        ("kdig +tls", ["kdig", "@127.0.0.1", "-p", tls, "+tls", *inside, *asked]),
        ("kdig +https", ["kdig", "@127.0.0.1", "-p", https, "+https=dns.example/dns-query", *inside, *asked]),
        ("kdig +https-get", ["kdig", "@127.0.0.1", "-p", https, "+https=dns.example/dns-query", "+https-get", *inside, *asked]),
        ("drill", ["drill", "-Q", "@127.0.0.1", "-p", ours, *asked[:2]]),
        ("drill -t", ["drill", "-t", "-Q", "@127.0.0.1", "-p", ours, *asked[:2]]),
    ]:
        # kdig shows the signature behind the answer.
        check(f"{what} asks our authority", run(*command).split()[:1], ["10.0.0.7"])
    answer = run("dig", "@127.0.0.1", "-p", ours, "id.server", "TXT", "CH", "+short").strip()
    check("dig is told who we are", answer, '"fra1"')
    whole = folder / "transferred.zone"
    whole.write_text("\n".join(transfer(ours)) + "\n")
    checked = subprocess.run(["named-checkzone", "-i", "local", "example.org", whole], capture_output=True, text=True)
    check("named-checkzone finds nothing in what we transfer", (checked.returncode, checked.stdout.split()[-1]), (0, "OK"))
    conf = knot(folder, "knot-secondary", knot_port, ours, """    master: ours
    acl: [transfers, word]
    zonefile-sync: -1
    journal-content: all
    zonefile-load: none
""", TRANSFERS + """
  - id: word
    action: notify
    key: transfer""")
    processes.start("knot-secondary", "knotd", "-c", conf)
    nsd(processes, folder, "nsd-secondary-2", nsd_port, f"""
    request-xfr: 127.0.0.1@{ours} transfer
    allow-notify: 127.0.0.1 transfer
    provide-xfr: 127.0.0.1 transfer
""")
    both = lambda number: all(serial(port) == number for port in (knot_port, nsd_port))
    wait_for("Knot and NSD as our secondaries", lambda: both(1))
    check("Knot has our zone", transfer(knot_port), transfer(ours))
    check("NSD has our zone", transfer(nsd_port), transfer(ours))
    for number in (2, 3):
        zone(file, number, range(number, HOSTS + number))
        server.send_signal(signal.SIGHUP)
        wait_for("our changed zone", lambda: serial(ours) == number)
        wait_for("Knot and NSD, told of it", lambda: both(number))
    check("our changes lead Knot to our zone", transfer(knot_port), transfer(ours))
    check("our changes lead NSD to our zone", transfer(nsd_port), transfer(ours))
    log = (folder / "knot-secondary.log").read_text()
    check("they went as changes (IXFR)", "IXFR, incoming" in log and "AXFR, incoming" in log, True)
    # A broken zone never replaces a running one.
    file.write_text("@ SOA ns host 9 3600 1 86400\n")
    server.send_signal(signal.SIGHUP)
    wait_for("the complaint", lambda: "stay" in (folder / "authority-primary.log").read_text())
    check("a broken file changes nothing", serial(ours), 3)


def main():
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    missing += [name for name in EXAMPLE_NAMES if not (EXAMPLES / name).exists()]
    if missing:
        print(f"not installed or not built: {', '.join(missing)}")
        return 77
    folder = pathlib.Path(tempfile.mkdtemp(prefix="interop-"))
    processes = Processes(folder)
    try:
        for part in (clients_of_the_forwarder, secondaries_and_clients_of_the_authority, nsd_is_our_primary,
                     knot_is_our_primary):
            part(processes, folder)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        print(f"FAILED  {error}")
        for log in sorted(folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-2000:]}")
        return 1
    finally:
        processes.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


sys.exit(main())
