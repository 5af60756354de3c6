"""What the checkpoint in Unbound costs: Unbound alone, with the plugin, and with a policy zone, CPU time a query.

dnsperf asks names that are cached, and names that are listed, from one customer's address over loopback. Where lists hold addresses the
plugin looks at answers too: what that adds is the same query under the same names with and without a list of addresses, the two asked
alternately.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest

from bench.settings import pick
from scenarios.harness import Resolver, folders
from sekisho.drivers.sharedfiles import make_folder
from sekisho.drivers.tables import TableWriter
from sekisho.model.customers import Prefix
from sekisho.snapshot.build import Garden, build
from support import free_port, require_binary
from support.differential.fronts import DIST_PACKAGES, UNBOUND, Front, Place, _serving, unbound
from support.differential.world import ALLOWED
from support.plane import GROUNDS, KEY, PAGE, CustomerRow, at, compile_entries, definition, entry, prefix_entry, profile, rule

SECONDS = pick(8, 2)
LISTED = 10_000
ADDRESSES = 1000
ROUNDS = pick(5, 2)
CLIENT = "127.40.0.1"
TICK = os.sysconf("SC_CLK_TCK")


def answering(packet: bytes) -> list[tuple[bytes, bool]]:
    """`many...` is another name of one with four addresses; all others have one."""
    asked = dns.message.from_wire(packet)
    answer, name = dns.message.make_response(asked, recursion_available=True), asked.question[0].name
    many = name.labels[0].startswith(b"many")
    if asked.question[0].rdtype == dns.rdatatype.A:
        if many:
            target = dns.name.from_text(f"real-{name}")
            answer.answer.append(dns.rrset.from_text(name, 3600, "IN", "CNAME", str(target)))
            name = target
        addresses = [f"198.51.100.{number}" for number in (1, 2, 3, 4)] if many else ["198.51.100.7"]
        answer.answer.append(dns.rrset.from_text(name, 3600, "IN", "A", *addresses))
    return [(answer.to_wire(), False)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Resolver(behave=answering).running() as resolver, folders(tmp_path_factory.mktemp("bench")) as (folder, runtime):
        tables = runtime / "plane"
        make_folder(tables)
        (folder / "list.key").write_bytes(bytes(range(16)))
        writer = TableWriter(tables)
        publish(writer, 1)
        writer.replace_customers([CustomerRow("c-1", at(CLIENT), 1, 0)], [Prefix.parse(ALLOWED)], 1)
        yield Place(folder, tables, folder / "list.key", resolver.port)


def publish(writer: TableWriter, epoch: int, *, addresses: bool = False) -> None:
    """A list of names, and with `addresses` one of these besides, which no answer leads to."""
    held = [(definition(0), compile_entries(entry(f"n{number}.listed.example") for number in range(LISTED)))]
    clauses = [rule("gunma/別記-1")]
    if addresses:
        prefixes = (prefix_entry(f"203.0.{number // 256}.{number % 256}") for number in range(ADDRESSES))
        held.append((definition(1), compile_entries(prefixes)))
        clauses.append(rule("gunma/別記-1", check_cnames=True))
    writer.publish_snapshot(build(epoch, held, [profile(*clauses)], [], KEY, grounds=GROUNDS, garden=Garden(PAGE)), epoch)


def plain(place: Place, modules: str, more: str = "", name: str = "unbound") -> object:
    """Unbound without the plugin."""
    port = free_port()
    config = place.folder / f"{name}.conf"
    text = UNBOUND.format(
        folder=place.folder, port=port, modules=modules, scripts=more, upstream=place.upstream, more="", control="no", six=""
    )  # fmt: skip
    config.write_text(text)
    return _serving(name, place.folder, port, [require_binary("unbound"), "-d", "-c", str(config)], {"PYTHONPATH": DIST_PACKAGES})


def policy_zone(place: Place) -> str:
    path = place.folder / "rpz.zone"
    rows = [f"n{number}.listed.example CNAME .\n*.n{number}.listed.example CNAME .\n" for number in range(LISTED)]
    path.write_text("$ORIGIN rpz.example.\n$TTL 60\n@ SOA . . 1 3600 600 86400 60\n@ NS localhost.\n" + "".join(rows))
    return f'rpz:\n    name: rpz.example\n    zonefile: "{path}"\n'


def passing(place: Place) -> str:
    """A script for Unbound's Python module that does nothing: what the module itself costs where the cache does not answer first."""
    path = place.folder / "passing.py"
    path.write_text(
        "def init_standard(module, env):\n    env.need_to_validate = 1\n    return True\n"
        "def deinit(module): return True\n"
        "def inform_super(module, state, above, data): return True\n"
        "def operate(module, event, state, data):\n"
        "    new = event in (MODULE_EVENT_NEW, MODULE_EVENT_PASS)\n"
        "    if not new and state.return_msg: state.return_msg.rep.security = sec_status_insecure\n"
        "    state.set_ext_state(module, MODULE_WAIT_MODULE if new else MODULE_FINISHED)\n"
        "    return True\n"
    )
    return f'python:\n    python-script: "{path}"\n'


def cpu(front: Front) -> float:
    """Seconds of CPU time the server has used."""
    fields = Path(f"/proc/{front.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(front: Front, names: Path, seconds: int = SECONDS) -> tuple[float, float]:
    """Microseconds of CPU a query, and queries a second."""
    before = cpu(front)
    done = subprocess.run(
        [require_binary("dnsperf"), "-s", "127.0.0.1", "-p", str(front.port), "-a", CLIENT, "-d", str(names), "-l", str(seconds), "-q", "50"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    used = cpu(front) - before
    many = int(re.search(r"Queries completed:\s+(\d+)", done.stdout)[1])  # type: ignore[index]
    return used / many * 1e6, many / seconds


def test_what_the_plugin_costs_a_query(place: Place) -> None:
    cached, listed = place.folder / "cached", place.folder / "listed"
    cached.write_text("".join(f"w{number}.harmless.example A\n" for number in range(200)))
    listed.write_text("".join(f"n{number}.listed.example A\n" for number in range(LISTED)))
    contenders = {
        "alone": plain(place, "iterator"),
        "with a policy zone": plain(place, "respip iterator", policy_zone(place), "rpz"),
        "with a script that lets all through": plain(place, "python subnetcache iterator", passing(place), "passing"),
        "with the plugin": unbound(place),
    }
    found = {}
    for title, one in contenders.items():
        with one as front:  # type: ignore[attr-defined]
            measure(front, cached)
            found[title] = (measure(front, cached), measure(front, listed))
            (fast, rate), (block, blocked) = found[title]
            print(f"Unbound {title}: cached {fast:.1f} us, {rate:.0f}/s; listed {block:.1f} us, {blocked:.0f}/s", file=sys.stderr)
    assert all(cost > 0 for pair in found.values() for cost, _ in pair)


def test_what_judging_answers_adds_to_a_query(place: Place, tmp_path: Path) -> None:
    """Two Unbounds, one on tables whose lists hold addresses, asked alternately."""
    one, many = place.folder / "one", place.folder / "many"
    one.write_text("".join(f"w{number}.harmless.example A\n" for number in range(200)))
    many.write_text("".join(f"many{number}.harmless.example A\n" for number in range(200)))
    tables = tmp_path / "plane"
    make_folder(tables)
    writer = TableWriter(tables)
    publish(writer, 1, addresses=True)
    writer.replace_customers([CustomerRow("c-1", at(CLIENT), 3, 0)], [Prefix.parse(ALLOWED)], 1)
    watched = Place(tmp_path, tables, place.key, place.upstream)
    with unbound(place) as without, unbound(watched) as judging:
        for what, names in (("one address", one), ("an alias and four addresses", many)):
            for front in (without, judging):
                measure(front, names, 1)
            pairs = [(measure(without, names, 2)[0], measure(judging, names, 2)[0]) for _ in range(ROUNDS)]
            added = sorted(with_ - alone for alone, with_ in pairs)
            alone, with_ = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(
                f"{what}: {alone:.1f} us a query without lists of addresses, {with_:.1f} with; added {statistics.median(added):.1f}"
                f" ({added[0]:.1f} to {added[-1]:.1f})",
                file=sys.stderr,
            )
            assert alone > 0
