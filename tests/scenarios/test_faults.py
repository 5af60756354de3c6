"""Faults of the machine and of others while queries come in: what is in force stays so, and who is not concerned notices nothing."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from scenarios.harness.checkpoint import CONTROL, PLANE
from scenarios.harness.resolver import honest
from sekisho.drivers.durable import write_file
from sekisho.drivers.maps import Head
from sekisho.drivers.sharedfiles import HEAD, customers_file, map_table, snapshot_file
from sekisho.snapshot import layout
from sekisho.snapshot.sections import Kind
from support.load import asking, question
from support.waiting import wait_until

pytestmark = pytest.mark.slow

LISTED = "listed.example"
LISTS = [{"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"}]
SILENT = "flood.example"
NO_BUDGET = ["gunma/19-2"]
AWAY = 10.0
"""Seconds a dead plane may be away. An idle machine needs half of one, a busy one two or three: this is no measure of speed, it tells
a plane that is started at once, on the tables that are there, from one that is not.
"""


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    """Says nothing about what is below `flood.example`, as a victim's servers do under a flood."""
    marked = SILENT.partition(".")[0].encode()
    with Resolver(behave=lambda packet: [] if marked in packet else honest(packet)).running() as one:
        yield one


@pytest.fixture(scope="module")
def site(resolver: Resolver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    with (
        folders(tmp_path_factory.mktemp("faults")) as (folder, runtime),
        running(write_site(folder, runtime, [resolver.port], lists=LISTS, sources={"c2.txt": f"{LISTED}\n"})) as one,
    ):
        yield one


@pytest.fixture(scope="module")
def customers(site: Checkpoint) -> list[Customer]:
    """Enough of them for a load that is within each one's budget."""
    return [site.customer("gunma") for _ in range(8)]


def harmless(number: int) -> str:
    return f"w{number}.harmless.example"


def load(
    site: Checkpoint, customers: list[Customer], name: Callable[[int], str] = harmless, **options: float
) -> contextlib.AbstractContextManager:
    return asking((site.site.host, site.site.port), [one.address for one in customers], name, **({"rate": 300} | options))  # type: ignore[arg-type]


# Damaged tables


def truncated(data: bytearray) -> bytes:
    return bytes(data[: len(data) // 2])


def flipped(data: bytearray) -> bytes:
    data[len(data) * 2 // 3] ^= 4
    return bytes(data)


def of_another_version(data: bytearray) -> bytes:
    struct.pack_into("<H", data, 12, layout.SNAPSHOT_VERSION + 1)
    return bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [(truncated, "truncated"), (flipped, "checksum"), (of_another_version, "layout version")],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_damaged_snapshot_is_refused_the_last_good_one_stays_and_status_says_so(
    site: Checkpoint, customers: list[Customer], damage: Callable[[bytearray], bytes], words: str
) -> None:
    folder = site.site.runtime / "plane"
    words_of_head = map_table(folder / HEAD, Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"]
    wait_until(lambda: is_settled(site), what="the plane on the tables of the daemon")
    epoch = Head(folder).epoch
    write_file(folder / snapshot_file(epoch + 1), damage(bytearray((folder / snapshot_file(epoch)).read_bytes())))
    words_of_head[layout.HEAD_EPOCH] = epoch + 1
    try:
        wait_until(lambda: site.sekisho("status")["plane"]["refused_epoch"] == epoch + 1, what="the refusal in status")
        status = site.sekisho("status")
        assert status["plane"]["epoch"] == epoch
        assert any(f"refused snapshot {epoch + 1}" in one for one in status["warnings"])
        assert site.metric("sekisho_snapshot_refused") == 1
        wait_until(lambda: any("tables refused" in line and words in line for line in site.log.splitlines()), what="the reason in the log")
        assert site.is_blocked(customers[0], LISTED)
        assert site.is_answered(customers[0], site.harmless())
        assert "refused snapshot" in site.say("status")
    finally:
        site.sekisho("reload")
    status = site.sekisho("status")
    assert status["plane"]["epoch"] == status["daemon"]["epoch"] == epoch + 2
    assert not status["plane"]["refused_epoch"]
    assert site.metric("sekisho_snapshot_refused") == 0


def is_settled(site: Checkpoint) -> bool:
    status = site.sekisho("status")
    # That tables were written anew is told for an hour.
    wrong = [one for one in status["warnings"] if "were written anew" not in one]
    return bool(status["plane"]["epoch"] == status["daemon"]["epoch"] and not wrong)


def test_damaged_customers_tables_are_refused_and_the_next_good_ones_taken(site: Checkpoint, customers: list[Customer]) -> None:
    folder = site.site.runtime / "plane"
    words_of_head = map_table(folder / HEAD, Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"]
    generation = Head(folder).generation
    write_file(folder / customers_file(generation + 1), (folder / customers_file(generation)).read_bytes()[:1000])
    words_of_head[layout.HEAD_GENERATION] = generation + 1
    wait_until(lambda: site.sekisho("status")["plane"]["refused_generation"] == generation + 1, what="the refusal in status")
    assert site.is_blocked(customers[0], LISTED)
    site.sekisho("reload")
    wait_until(lambda: not site.sekisho("status")["plane"]["refused_generation"], what="good tables in force")
    assert site.is_blocked(customers[0], LISTED)


@pytest.mark.parametrize("damage", [truncated, flipped, of_another_version], ids=lambda one: one.__name__)
def test_a_plane_that_starts_on_damaged_tables_has_them_written_anew(
    site: Checkpoint, customers: list[Customer], damage: Callable[[bytearray], bytes]
) -> None:
    folder = site.site.runtime / "plane"
    wait_until(lambda: is_settled(site), what="the plane on the tables of the daemon")
    snapshot = folder / snapshot_file(Head(folder).epoch)
    write_file(snapshot, damage(bytearray(snapshot.read_bytes())))
    ready = site.times_ready(PLANE)
    site.kill(PLANE)
    site.wait_ready(PLANE, ready + 1)
    assert site.is_blocked(customers[0], LISTED)
    assert site.is_answered(customers[0], site.harmless())
    wait_until(lambda: is_settled(site), what="one epoch in force")
    assert any("sekishod is asked to write them anew" in line for line in site.log.splitlines())
    assert any("were written anew" in one for one in site.sekisho("status")["warnings"])


# Processes that die


def test_no_query_is_lost_when_the_control_plane_is_killed_under_load(site: Checkpoint, customers: list[Customer]) -> None:
    with load(site, customers) as counted:
        counted.wait(100)
        ready = site.kill(CONTROL)
        site.wait_ready(CONTROL, ready + 1)
        counted.wait(100)
    assert not counted.lost
    assert set(counted.rcodes) == {0}


@pytest.mark.parametrize("killed", [(PLANE,), (CONTROL, PLANE)], ids=["plane", "both"])
def test_queries_sent_while_the_plane_is_dead_wait_for_the_next_one(
    site: Checkpoint, customers: list[Customer], killed: tuple[str, ...]
) -> None:
    """The supervisor holds the sockets. What the dead plane held itself is lost: what was outstanding, and no more. The rest waits
    for the next plane, which is there within seconds.
    """
    ready = {module: site.times_ready(module) for module in killed}
    with load(site, customers, window=4) as counted:
        counted.wait(100)
        for module in killed:
            site.kill(module)
        counted.given_up = dead = counted.sent
        for module, times in ready.items():
            site.wait_ready(module, times + 1)
        counted.wait(50)
        sent = counted.sent - dead
    assert sent > 0
    held = 4 * len(customers)
    assert len(counted.lost) <= held
    late = {harmless(number) for number in range(dead + held, dead + sent)}
    assert not late & set(counted.lost), "what was sent to the dead plane was answered by the next"
    assert counted.longest < AWAY, f"an answer took {counted.longest:.1f} s"
    assert set(counted.rcodes) == {0}


# Want


@contextlib.contextmanager
def limited(kind: int, limits: dict[int, int]) -> Iterator[None]:
    """A soft limit on running processes, taken back at the end."""
    before = {pid: resource.prlimit(pid, kind) for pid in limits}
    try:
        for pid, limit in limits.items():
            resource.prlimit(pid, kind, (limit, before[pid][1]))
        yield
    finally:
        for pid, limit in before.items():
            resource.prlimit(pid, kind, limit)


def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_recorded_and_queries_are_answered(
    site: Checkpoint, customers: list[Customer]
) -> None:
    """No file can grow, the logs neither; both processes outlive it and go on where they stopped."""
    one, new = site.customer("gunma"), site.customer("gunma")
    pids = {module: wait_until(lambda module=module: site.pid(module)) for module in (CONTROL, PLANE)}
    acts = site.sekisho("status")["ledger"]["acts"]
    with limited(resource.RLIMIT_FSIZE, dict.fromkeys(pids.values(), 1)):
        refused = site.sekisho("optout", "add", new.id, "c2", code=1)
        assert "could not be written" in refused["error"]
        assert "room" in refused["hint"]
        assert site.is_blocked(new, LISTED), "not acknowledged and not in force"
        for _ in range(5):
            assert site.is_blocked(one, LISTED)
            assert site.is_answered(one, site.harmless())
        site.sekisho("reload", code=1)
        assert site.sekisho("status")["ledger"]["acts"] == acts
    site.sekisho("optout", "add", new.id, "c2")
    assert site.is_answered(new, LISTED)
    site.sekisho("reload")
    assert site.is_answered(new, LISTED)
    assert sum(event["count"] for event in site.events(one, at_least=5)) == 5, "matches waited for room"
    assert {module: site.pid(module) for module in pids} == pids


def test_without_file_descriptors_left_udp_and_open_connections_are_served_and_tables_follow(
    site: Checkpoint, customers: list[Customer]
) -> None:
    pid = wait_until(lambda: site.pid(PLANE))
    # Numbers are given lowest first; there may be gaps among those in use, so the limit leaves three free ones, not three more.
    free = sorted(set(range(len(descriptors(pid)) + 3)) - descriptors(pid))[:3]
    with contextlib.ExitStack() as stack, limited(resource.RLIMIT_NOFILE, {pid: free[-1] + 1}):
        for number in range(8):
            address = (customers[number % len(customers)].address, 0)
            stack.enter_context(socket.create_connection((site.site.host, site.site.port), source_address=address))
        wait_until(lambda: descriptors(pid) >= set(free), what="the limit")
        assert site.is_blocked(customers[1], LISTED)
        assert site.is_answered(customers[1], site.harmless())
        site.sekisho("lists", "except", "c2", LISTED)
        # No file can be opened, so no table mapped: the last good ones stay until one can.
        assert site.is_blocked(customers[1], LISTED)
    assert site.is_answered(customers[1], site.harmless(), tcp=True)
    wait_until(lambda: site.is_answered(customers[1], LISTED), what="the exception in force")
    assert site.pid(PLANE) == pid
    site.sekisho("lists", "except", "c2", LISTED, "--remove")
    wait_until(lambda: site.is_blocked(customers[1], LISTED))


def test_without_file_descriptors_left_the_control_plane_lives_and_goes_on_when_there_are_some_again(
    site: Checkpoint, customers: list[Customer]
) -> None:
    pid, new = site.pid(CONTROL), site.customer("gunma")
    lines = len(site.log.splitlines())
    limit = max(descriptors(pid)) + 1
    with contextlib.ExitStack() as stack, limited(resource.RLIMIT_NOFILE, {pid: limit}):
        wait_until(lambda: take_one(stack, site) or len(descriptors(pid)) >= limit, what="the limit")
        wait_until(lambda: '"failing"' in site.log[-20000:], what="a step that could not be done")
        assert site.is_blocked(customers[0], LISTED)
        assert site.is_answered(customers[0], site.harmless())
    wait_until(lambda: '"recovered"' in "".join(site.log.splitlines()[lines:]), what="what was wanting")
    site.sekisho("optout", "add", new.id, "c2")
    assert site.is_answered(new, LISTED)
    assert site.pid(CONTROL) == pid
    assert len(site.log.splitlines()) < lines + 100, "nor is the log flooded"


def take_one(stack: contextlib.ExitStack, site: Checkpoint) -> None:
    """One connection more to the operator's socket that asks nothing."""
    one = stack.enter_context(socket.socket(socket.AF_UNIX))
    one.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        one.connect(str(site.site.runtime / "sekishod.sock"))


def descriptors(pid: int) -> set[int]:
    return {int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()}


# Others


def test_thousands_of_tcp_clients_that_send_a_byte_now_and_then_keep_nobody_from_being_served(
    site: Checkpoint, customers: list[Customer]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    slow = [site.customer("gunma") for _ in range(100)]
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        to = (site.site.host, site.site.port)
        streams = [
            stack.enter_context(socket.create_connection(to, source_address=(slow[n % 100].address, 0), timeout=30)) for n in range(2000)
        ]
        began, byte = time.monotonic(), 0
        open_ = list(streams)
        while open_:
            open_ = [one for one in open_ if is_open(one)]
            with contextlib.suppress(OSError):
                for one in open_:
                    one.send(b"\0\x40"[byte : byte + 1] or b"a")
            byte += 1
            for tcp in (False, True):
                assert site.is_blocked(customers[0], LISTED, tcp=tcp)
                assert site.is_answered(customers[0], site.harmless(), tcp=tcp)
            assert time.monotonic() - began < 300, f"{len(open_)} are open yet"
        assert byte > 1, "they were served beside one another"


def is_open(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return one.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_a_flood_of_random_subdomains_harms_no_answer_that_is_known_and_within_a_budget_no_answer_at_all(
    site: Checkpoint, customers: list[Customer]
) -> None:
    """The resolver says nothing about them, so each is outstanding for as long as it may be."""
    budgeted, unlimited, other = site.customer("gunma"), site.customer("gunma", exempt=NO_BUDGET), customers[2]
    known, before = site.harmless(), outstanding(site)
    assert site.is_answered(other, known)
    flood(site, budgeted, 20000)
    for _ in range(20):
        assert site.is_answered(other, site.harmless()), "one customer's flood leaves room for the names of others"
    full = site.metric("sekisho_pending_full_total")
    assert full == 0
    # The same without a budget, as from many customers at once.
    wait_until(lambda: flood(site, unlimited, 20000) or site.metric("sekisho_pending_full_total") > 0, deadline=60, what="a full desk")
    for _ in range(20):
        assert site.is_answered(other, known)
        assert site.is_blocked(other, LISTED)
    wait_until(lambda: outstanding(site) <= before, deadline=60, what="room for new names again")
    assert site.is_answered(other, site.harmless())


def outstanding(site: Checkpoint) -> float:
    """Queries the resolver was asked and has not answered in time or at all; what planes of before held when they died included."""
    sent = site.metric("sekisho_upstream_sent_total")
    return sent - site.metric("sekisho_upstream_answered_total") - site.metric("sekisho_upstream_timeouts_total")


def flood(site: Checkpoint, customer: Customer, packets: int) -> None:
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(8):  # so that the kernel spreads them over the workers
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.bind((customer.address, 0))
            one.connect((site.site.host, site.site.port))
            clients.append(one)
        for number in range(packets):
            clients[number % 8].send(question(number, f"{os.urandom(6).hex()}.{SILENT}"))


def test_the_control_plane_stopped_in_mid_air_is_no_matter_to_the_plane(site: Checkpoint, customers: list[Customer]) -> None:
    """Stopped, not dead: nobody tells the plane, and the sockets of the operator answer nothing."""
    pid = wait_until(lambda: site.pid(CONTROL))
    os.kill(pid, signal.SIGSTOP)
    try:
        with load(site, customers, lambda n: LISTED if n % 2 else harmless(n)) as counted:
            counted.wait(300)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert not counted.lost
