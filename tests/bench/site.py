"""The benchmark's site: 100,000 customers of one address each, two lists, one pack; and its opt-outs.

site.py write FOLDER DATA PORT UPSTREAM LIMIT WORKERS RUNTIME
site.py optouts SOCKET FILE
"""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path

from sekisho.cli.client import Client

BASE = int(ipaddress.IPv4Address("127.16.0.0"))
CUSTOMERS = 100_000
PACK = """\
version: 1
pack: bench
document: {{title: Benchmark terms, operator: Benchmark, version: "1"}}
clauses:
  - id: bench/1
    article: "1"
    ja: 計測用の条項 (遮断、任意)
    en: Blocking that a customer can opt out of.
    rules:
      - kind: dns-block
        categories: [c2]
        answer: nxdomain
        opt_out: {{by: customer}}
        consent: {{required: false}}
        notice: none
        ede: blocked
        record: {{fields: [time, customer, clause, list, entry, action], retention: 1d}}
  - id: bench/2
    article: "2"
    ja: 計測用の条項 (遮断、必須)
    en: Blocking that nobody can opt out of.
    rules:
      - kind: dns-block
        categories: [mandatory]
        answer: nxdomain
        opt_out: {{by: nobody}}
        consent: {{required: false}}
        notice: none
        ede: censored
        record: {{fields: [time, customer, clause, list, entry, action], retention: 1d}}
  - id: bench/3
    article: "3"
    ja: 計測用の条項 (上限)
    en: A query budget.
    rules:
      - kind: dns-budget
        rate: {limit}
        burst: {limit}
        over: drop
        notice: none
        record: {{fields: [time, customer, clause, action], retention: 1d}}
"""
LISTS = """\
version: 1
lists:
  - {{id: list-a, category: c2, source: {folder}/lista, format: domains, scope: subtree, answer: nxdomain, refresh: 1d}}
  - {{id: list-b, category: mandatory, source: {data}/listb, format: domains, scope: subtree, answer: nxdomain, refresh: 1d}}
"""
SITE = """\
version: 1
listen: ["127.0.0.1:{port}"]
upstream: {{address: "127.0.0.1:{upstream}"}}
state: state
runtime: {runtime}
terms: [./bench.yaml]
lists: lists.yaml
customers: customers.csv
metrics: null
workers: {workers}
busy_poll: {busy_poll}
cache: {{mib: 256}}
"""


def write(
    folder: Path, data: str, port: str, upstream: str, limit: str, workers: str, runtime: str, more: int = 0, busy_poll: str = "0s"
) -> None:
    (folder / "bench.yaml").write_text(PACK.format(limit=limit))
    (folder / "lists.yaml").write_text(LISTS.format(folder=folder, data=data))
    text = SITE.format(port=port, upstream=upstream, runtime=runtime, workers=workers, busy_poll=busy_poll)
    (folder / "sekisho.yaml").write_text(text)
    customers = folder / "customers.csv"
    if not customers.exists():
        # Whoever asks from beyond the 100,000 is a customer too, by /24, so that probes and floods meet the lists.
        rest = range(int(ipaddress.IPv4Address("127.18.0.0")) >> 8, int(ipaddress.IPv4Address("127.128.0.0")) >> 8)
        with customers.open("w") as out:
            out.write("id,terms,prefixes\n")
            out.writelines(f"c{number},bench,{ipaddress.IPv4Address(BASE + number)}/32\n" for number in range(CUSTOMERS))
            out.writelines(f"r{number},bench,{ipaddress.IPv4Address(number << 8)}/24\n" for number in rest)
            out.writelines(f"m{number},bench,2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64\n" for number in range(more))


def opt_out(channel: Path, file: Path) -> None:
    """Opt out every address of the file, by the daemon's own socket."""
    client = Client(channel)
    for line in file.read_text().split():
        number = int(ipaddress.IPv4Address(line)) - BASE
        client.post("/v1/optouts", customer=f"c{number}", list="list-a", by="benchmark")


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), *sys.argv[3:])
    else:
        opt_out(Path(sys.argv[2]), Path(sys.argv[3]))
