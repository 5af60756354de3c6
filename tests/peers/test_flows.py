"""Flow records of real exporters: softflowd and pmacct (nfprobe), over a capture whose octets are known."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from sekisho.drivers.flows import FlowCollector
from sekisho.drivers.tables import TableWriter
from sekisho.flows import layout
from sekisho.flows.layout import Total
from support import require_binary, wait_until
from unit.drivers.test_flows import LOCAL, collecting, row

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
CUSTOMER, SERVER, SIX, FAR = "192.0.2.7", "198.51.100.25", "2001:db8:2::1", "2001:db8:ffff::1"
BEGAN = 1_700_000_000.0
PMACCT = """\
daemonize: false
pcap_savefile: {capture}
plugins: nfprobe
aggregate: src_host, dst_host, src_port, dst_port, proto, tos{more}
nfprobe_receiver: 127.0.0.1:{port}
nfprobe_version: {version}
nfprobe_timeouts: expint=1:maxlife=5
"""


def _frame(source: int, target: int) -> Ether:
    return Ether(src=f"02:00:00:00:00:0{source}", dst=f"02:00:00:00:00:0{target}")


def connection(customer: str, server: str, port: int, sizes: list[tuple[bool, int]]) -> list[Ether]:
    """A TCP connection from its SYN to its FINs; sizes: (from the customer, octets of payload)."""
    layer = IPv6 if ":" in customer else IP

    def there(flags: str) -> Ether:
        return _frame(1, 2) / layer(src=customer, dst=server) / TCP(sport=40000 + port, dport=port, flags=flags)

    def back(flags: str) -> Ether:
        return _frame(2, 1) / layer(src=server, dst=customer) / TCP(sport=port, dport=40000 + port, flags=flags)

    data = [(there("PA") if ours else back("PA")) / bytes(size) for ours, size in sizes]
    return [there("S"), back("SA"), there("A"), *data, there("FA"), back("FA"), there("A")]


class Capture:
    """A capture, and what is in it: octets of IP down and up by customer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        packets = connection(CUSTOMER, SERVER, 25, [(True, 700), (False, 300)])
        packets += connection(CUSTOMER, SERVER, 443, [(False, 1400)] * 40)
        packets += connection(SIX, FAR, 443, [(False, 1000)] * 10)
        packets += [_frame(2, 1) / IP(src=SERVER, dst=CUSTOMER) / UDP(sport=53, dport=5000) / bytes(64)]
        for number, one in enumerate(packets):
            one.time = BEGAN + number / 100
        wrpcap(str(path), packets)
        octets = {name: [0, 0] for name in ("c-1", "c-2")}
        for one in packets:
            ip = one[IP] if IP in one else one[IPv6]
            for direction, address in ((0, ip.dst), (1, ip.src)):
                if address in {CUSTOMER, SIX}:
                    octets["c-1" if address == CUSTOMER else "c-2"][direction] += len(bytes(ip))
        self.octets = {name: (down, up) for name, (down, up) in octets.items()}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    return Capture(tmp_path_factory.mktemp("capture") / "all.pcap")


@pytest.fixture
def tables(tmp_path: Path) -> TableWriter:
    writer = TableWriter(tmp_path / "plane")
    writer.replace_customers([row("c-1", CUSTOMER), row("c-2", "2001:db8:2::/48")], [], 4)
    return writer


def counted(one: FlowCollector, tables: TableWriter) -> dict[str, tuple[int, int, int, int]]:
    """Octets down and up, connections and those to mail, by customer, once the collector is closed."""
    found = {name: [0, 0, 0, 0] for name in ("c-1", "c-2")}
    names = {tables.row_of(name): name for name in found}
    for batch in one.batches():
        for place, number in enumerate(batch.rows.tolist()):
            told = (batch.down[place], batch.up[place], batch.connections[place], batch.mail[place])
            found[names[number]] = [before + int(more) for before, more in zip(found[names[number]], told, strict=True)]
    return {name: (sums[0], sums[1], sums[2], sums[3]) for name, sums in found.items()}


def check(one: FlowCollector, tables: TableWriter, capture: Capture, *, six: bool) -> None:
    found = counted(one, tables)
    assert found["c-1"] == (*capture.octets["c-1"], 2, 1)
    assert found["c-2"] == ((*capture.octets["c-2"], 1, 0) if six else (0, 0, 0, 0))
    assert one.view is not None
    assert not one.view.totals[layout.FAULTS :].any()
    assert not one.view.totals[[Total.GAPS, Total.EARLY, Total.UNUSABLE]].any()


@pytest.mark.parametrize("version", [5, 9, 10])
def test_softflowd(version: int, tmp_path: Path, tables: TableWriter, capture: Capture) -> None:
    program = require_binary("softflowd")
    with collecting(tmp_path, LOCAL) as (one, sender):
        there = f"127.0.0.1:{sender.getpeername()[1]}"
        argv = (program, "-r", str(capture.path), "-n", there, "-v", str(version), "-d", "-p", "pid", "-c", "control")
        # Its control socket has a short path, or it waits for ever.
        subprocess.run(argv, check=True, capture_output=True, timeout=60, cwd=tmp_path, stdin=subprocess.DEVNULL)
        wait_for_records(one, 7 if version > 5 else 5)
    check(one, tables, capture, six=version > 5)


@pytest.mark.parametrize("version", [5, 9, 10])
def test_pmacct(version: int, tmp_path: Path, tables: TableWriter, capture: Capture) -> None:
    program = require_binary("pmacctd")
    for _ in range(5):
        with collecting(tmp_path, LOCAL) as (one, sender):
            config = tmp_path / "pmacctd.conf"
            more = ", tcpflags" if version > 5 else ""
            config.write_text(PMACCT.format(capture=capture.path, port=sender.getpeername()[1], version=version, more=more))
            with subprocess.Popen([program, "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
                # At the end of the capture it ends, on a busy machine before its exporter has read all of it: then once more.
                told = wait_for_records_or_end(one, 5, child)
        if told:
            break
        (tmp_path / "templates").unlink(missing_ok=True)
    check(one, tables, capture, six=version > 5)


def wait_for_records_or_end(one: FlowCollector, many: int, child: subprocess.Popen[bytes]) -> bool:
    """Whether so many came of a program that ends by itself; what it sent had come when it ended."""

    def told() -> bool:
        return one.view is not None and int(one.view.totals[Total.RECORDS]) >= many

    wait_until(lambda: told() or child.poll() is not None, what="records, or the end")
    with contextlib.suppress(AssertionError):
        wait_until(told, deadline=5.0)
    return told()


def wait_for_records(one: FlowCollector, many: int) -> None:
    wait_until(lambda: one.view is not None and int(one.view.totals[Total.RECORDS]) >= many, 60)
