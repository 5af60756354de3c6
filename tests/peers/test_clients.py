"""dig, kdig and dnsperf as clients: every option they have to say about a server, and no complaint of theirs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from peers.conftest import LISTED, SEALED
from scenarios.harness import Checkpoint, Customer
from support import has_ipv6, require_binary, wait_until

pytestmark = [pytest.mark.peers, pytest.mark.slow]

HARMLESS = "www.harmless.example"


@pytest.fixture(scope="module")
def customer(site: Checkpoint) -> Customer:
    return site.customer("gunma", "nbnet")


class Client:
    """dig or kdig asking as one customer."""

    def __init__(self, program: str, site: Checkpoint, customer: Customer) -> None:
        self.name, self.path, self._site, self._customer = program, require_binary(program), site, customer

    def ask(self, *arguments: str, host: str = "", source: str = "") -> str:
        host, source = host or self._site.site.host, source or self._customer.address
        limits = ["+time=10", "+retry=1", "+noidn"] if self.name == "kdig" else ["+time=10", "+tries=2"]
        argv = [self.path, f"@{host}", "-p", str(self._site.site.port), "-b", source, *limits, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        for complaint in ("WARNING", "mismatch", "malformed", "Got bad packet", "FORMERR", "unexpected", "communications error"):
            assert complaint.lower() not in said.lower().replace(";; warning: truncated reply", ""), said
        return said


@pytest.fixture(params=["dig", "kdig"])
def client(request: pytest.FixtureRequest, site: Checkpoint, customer: Customer) -> Client:
    return Client(request.param, site, customer)


def status(said: str) -> str:
    found = re.search(r"status: (\w+)", said)
    assert found, said
    return found[1]


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    "edns", [["+noedns"], ["+edns=0"], ["+dnssec"], ["+nsid"], ["+cookie"], ["+padding=128"], ["+bufsize=512"], ["+cdflag"], ["+noadflag"]]
)
def test_whatever_options_a_client_sends_it_gets_a_proper_answer(client: Client, transport: str, edns: list[str]) -> None:
    said = client.ask(transport, *edns, HARMLESS)
    assert status(said) == "NOERROR"
    assert "198.51.100.7" in said
    for name in (LISTED, f"deep.below.{LISTED}", SEALED):
        said = client.ask(transport, *edns, name)
        assert status(said) == "NXDOMAIN"
        assert "198.51.100.7" not in said
        assert "SOA" in said


def test_an_extended_error_tells_a_measure_where_the_query_had_edns(client: Client) -> None:
    """RFC 8914: Blocked by the operator, Censored by a body outside; none without EDNS."""
    assert re.search(r"EDE: 15|Blocked", client.ask("+edns=0", LISTED))
    assert re.search(r"EDE: 16|Censored", client.ask("+edns=0", SEALED))
    assert not re.search(r"EDE|Blocked", client.ask("+noedns", LISTED))
    assert not re.search(r"EDE", client.ask("+edns=0", HARMLESS))


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_the_case_of_a_name_comes_back_as_it_was_sent(client: Client, transport: str) -> None:
    """0x20: a resolver of the customer's takes an answer in other letters for a forged one; from the cache too."""
    for name in ("wWw.HaRmLeSs.eXaMpLe", "WWW.harmless.EXAMPLE", "c2.LISTED.example"):
        assert f"{name}." in client.ask(transport, name)


def test_a_large_answer_is_truncated_and_asked_for_again_over_tcp(client: Client) -> None:
    assert " tc" in client.ask("+ignore", "+bufsize=512", "TXT", "large.example")
    said = client.ask("TXT", "large.example")
    assert said.count("xxxxxxxxxx") >= 20


def test_a_name_that_does_not_exist_is_said_so_with_its_soa(client: Client) -> None:
    said = client.ask("a.missing.example")
    assert status(said) == "NXDOMAIN"
    assert "ns.missing.example." in said
    assert "EDE" not in said


@pytest.mark.parametrize("rdtype", ["A", "AAAA", "MX", "TXT", "HTTPS", "SRV", "TYPE65400", "ANY"])
def test_every_type_of_a_listed_name_is_cut_off(client: Client, rdtype: str) -> None:
    assert status(client.ask(rdtype, LISTED)) == "NXDOMAIN"


def test_a_stranger_is_refused(client: Client) -> None:
    for transport in ("+notcp", "+tcp"):
        assert status(client.ask(transport, HARMLESS, source="127.8.8.8")) == "REFUSED"


def test_a_zone_transfer_is_refused(client: Client, site: Checkpoint, customer: Customer) -> None:
    argv = [client.path, f"@{site.site.host}", "-p", str(site.site.port), "-b", customer.address, "harmless.example", "AXFR"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert re.search(r"Transfer failed|REFUSED|NOTIMPL", said), said
    assert "198.51.100.7" not in said


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_over_ipv6_the_same(client: Client, site: Checkpoint, transport: str) -> None:
    body = {"id": "six", "terms": ["gunma"], "prefixes": ["::1/128"], "consent": {"version": "2021-02-01", "at": "2024-04-01"}}
    site.api.post("/v1/customers", record=body, replace=True)
    before = site.metric("sekisho_queries_total", family="ipv6")
    assert "198.51.100.7" in client.ask(transport, HARMLESS, host="::1", source="::1")
    assert status(client.ask(transport, LISTED, host="::1", source="::1")) == "NXDOMAIN"
    site.api.post("/v1/optouts", customer="six", list="c2")
    assert status(client.ask(transport, LISTED, host="::1", source="::1")) == "NOERROR"
    site.api.delete("/v1/optouts", customer="six", list="c2")
    wait_until(lambda: site.metric("sekisho_queries_total", family="ipv6") >= before + 3, what="queries counted as IPv6")


def test_dig_unknown_opcodes_and_edns_versions_get_the_answers_of_the_rfcs(site: Checkpoint, customer: Customer) -> None:
    dig = require_binary("dig")
    base = [dig, f"@{site.site.host}", "-p", str(site.site.port), "-b", customer.address, "+time=10"]

    def ask(*arguments: str) -> str:
        return subprocess.run([*base, *arguments], capture_output=True, text=True, timeout=60, check=False).stdout

    assert "BADVERS" in ask("+edns=1", "+noednsnegotiation", HARMLESS)
    assert "status: NOERROR" in ask("+edns=1", "+ednsnegotiation", HARMLESS), "dig comes back with the version the server speaks"
    for opcode in ("notify", "update", "status", "9"):
        assert "NOTIMP" in ask(f"+opcode={opcode}", HARMLESS)
    assert "status: NOERROR" in ask("+ednsopt=65001:abcdef", "+ednsflags=0x40", HARMLESS)
    assert "status: NOERROR" in ask("+tcp", "+keepalive", HARMLESS)


def test_kdig_asks_many_questions_on_one_connection(site: Checkpoint, customer: Customer) -> None:
    kdig = require_binary("kdig")
    queries = site.metric("sekisho_queries_total", transport="tcp")
    site.ask(customer, HARMLESS, tcp=True)
    # Counts are told a moment after the fact; with this one those of all connections before it are.
    wait_until(lambda: site.metric("sekisho_queries_total", transport="tcp") > queries, what="the query counted")
    connections = site.metric("sekisho_tcp_connections_total")
    names = [HARMLESS, LISTED, "a.missing.example", SEALED, "big.large.example"]
    argv = [kdig, f"@{site.site.host}", "-p", str(site.site.port), "-b", customer.address, "+tcp", "+keepopen", "+time=10", *names]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.findall(r"status: (\w+)", said) == ["NOERROR", "NXDOMAIN", "NXDOMAIN", "NXDOMAIN", "NOERROR"]
    wait_until(lambda: site.metric("sekisho_tcp_connections_total") == connections + 1, what="one connection counted")


@pytest.mark.parametrize("mode", ["udp", "tcp"])
def test_dnsperf_gets_every_query_answered(site: Checkpoint, tmp_path: Path, mode: str) -> None:
    dnsperf = require_binary("dnsperf")
    busy = site.customer("gunma", "nbnet", exempt=["gunma/19-2", "nbnet/22-2-5"])
    lines = [f"n{number}.harmless.example {'A' if number % 3 else 'AAAA'}" for number in range(300)]
    lines += [f"n{number}.{LISTED} A" for number in range(60)] + [f"n{number}.missing.example A" for number in range(40)]
    (tmp_path / "queries").write_text("\n".join(lines) + "\n")
    argv = [dnsperf, "-s", site.site.host, "-p", str(site.site.port), "-a", busy.address, "-d", str(tmp_path / "queries")]
    argv += ["-n", "10", "-c", "4", "-q", "40", "-t", "20", "-m", mode]
    before = site.metric("sekisho_list_matches_total", list="c2")
    said = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=True).stdout
    assert re.search(r"Queries sent:\s+4000\b", said), said
    assert re.search(r"Queries completed:\s+4000 \(100.00%\)", said), said
    assert re.search(r"Queries lost:\s+0\b", said), said
    codes = dict(re.findall(r"(NOERROR|NXDOMAIN|SERVFAIL|REFUSED|FORMERR) (\d+)", said))
    assert codes == {"NOERROR": "3000", "NXDOMAIN": "1000"}
    wait_until(lambda: site.metric("sekisho_list_matches_total", list="c2") == before + 600, what="every match counted")
