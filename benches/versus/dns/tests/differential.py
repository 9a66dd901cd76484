#!/usr/bin/env python3
"""Messages in hexadecimal, one a line, on standard input: what dnspython says of each, one a line. Exit code 77: it is not
installed, or not the release that the reasons in the test are written for."""
import sys

try:
    import dns.exception, dns.message, dns.version
except ImportError:
    sys.exit(77)
if (dns.version.MAJOR, dns.version.MINOR) != (2, 8):
    sys.exit(77)

for line in sys.stdin:
    try:
        dns.message.from_wire(bytes.fromhex(line.strip()), keyring=False)
        print("ok")
    except Exception as error:  # noqa: BLE001, whatever it is, it is a refusal
        print(type(error).__name__, str(error).replace("\n", " ")[:60])
