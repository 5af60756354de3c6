"""A sealed list in the daemon's memory: keyed digests and nothing else, from wherever it came.

The memory of the running daemon is read as a debugger would, and searched for names in every form.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, memory, running, shapes, write_site
from scenarios.harness.checkpoint import CONTROL
from scenarios.harness.web import Feed, serving
from sekisho.lists import idn
from support import Primary
from support.waiting import wait_until

pytestmark = pytest.mark.slow

ZONE = "rpz.test."
KINDS = ("file", "http", "axfr")


@dataclass(frozen=True)
class Marks:
    """Labels that are nowhere but on the lists they were made for."""

    plain: str
    german: str
    """Of letters that Python keeps an octet each."""
    japanese: str

    @classmethod
    def new(cls) -> Marks:
        japanese = "".join(chr(random.randrange(0x4E00, 0x9000)) for _ in range(8))
        return cls(f"plain{uuid.uuid4().hex}", f"bücher{uuid.uuid4().hex}", japanese)

    def names(self, first: str) -> list[str]:
        """Names that start with a label of one version of one list."""
        return [f"{first}.{mark}.example" for mark in (self.plain, self.german, self.japanese)]

    def lines(self, first: str) -> list[str]:
        """A feed of the names, with lines that are none."""
        bad = [f"{self.plain} and {self.japanese}", f"{self.german}..example", f"{'y' * 64}{self.plain}.example", self.plain]
        return [*self.names(first), *bad, *(f"{first}-{number}.{self.plain}.example" for number in range(2000))]

    def records(self, first: str) -> list[tuple[str, str]]:
        """The same as a response policy zone."""
        owners = [*(idn.to_text(idn.to_wire(name)) for name in self.names(first)), self.plain]
        return [(f"{owner}.{ZONE}", "CNAME .") for owner in owners]

    def wanted(self) -> dict[str, bytes]:
        marks = {"plain": self.plain, "german": self.german, "japanese": self.japanese}
        return {f"{name} {form}": octets for name, mark in marks.items() for form, octets in shapes(mark).items()}


@dataclass
class Sealed:
    checkpoint: Checkpoint
    customer: Customer
    marks: Marks
    listed: Marks
    """Of the names on a list that is not sealed."""
    web: Feed
    primary: Primary

    def put(self, version: str) -> None:
        """Have the sources say something else."""
        (self.checkpoint.site.folder / "file.txt").write_text("\n".join(self.marks.lines(f"file-{version}")), encoding="utf-8")
        self.web.body = "\n".join(self.marks.lines(f"http-{version}")).encode()
        self.primary.records = self.marks.records(f"axfr-{version}")
        self.primary.serial += 1

    def is_in_force(self, version: str) -> bool:
        names = [idn.to_text(idn.to_wire(name)) for kind in KINDS for name in self.marks.names(f"{kind}-{version}")]
        return all(self.checkpoint.is_blocked(self.customer, name) for name in names)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    marks, listed = Marks.new(), Marks.new()
    web = Feed("\n".join(marks.lines("http-1")).encode())
    own = {"category": "child-abuse", "sealed": True, "max_shrink": 1.0}
    with (
        serving({"http": web}) as url,
        Primary(ZONE, marks.records("axfr-1")).running() as primary,
        Resolver().running() as resolver,
        folders(tmp_path_factory.mktemp("sealed")) as (folder, runtime),
    ):
        lists = [
            {"id": "file", "source": "file.txt", "format": "domains", "scope": "exact", **own},
            {"id": "http", "source": f"{url}/http", "format": "domains", "scope": "exact", **own},
            {"id": "axfr", "source": primary.source, "format": "axfr", "zone": ZONE, **own},
            {"id": "listed", "category": "c2", "source": "listed.txt", "format": "domains", "scope": "exact"},
        ]
        sources = {"file.txt": "\n".join(marks.lines("file-1")), "listed.txt": "\n".join(listed.lines("listed"))}
        with running(write_site(folder, runtime, [resolver.port], lists=lists, sources=sources)) as checkpoint:
            yield Sealed(checkpoint, checkpoint.customer("gunma", "nbnet"), marks, listed, web, primary)


def test_nbnet_21_1_the_daemon_has_no_sealed_name_in_its_memory_from_wherever_the_list_came(sealed: Sealed) -> None:
    """Started, refreshed with other names and faulty lines, reloaded, and fed a page that is no list."""
    checkpoint = sealed.checkpoint
    assert sealed.is_in_force("1")
    sealed.put("2")
    for kind in KINDS:
        shown = checkpoint.sekisho("lists", "refresh", kind)["lists"][0]
        assert not shown["error"], shown
    assert sealed.is_in_force("2")
    sealed.put("3")
    checkpoint.say("reload")
    checkpoint.say("lists", "refresh")
    assert sealed.is_in_force("3")
    sealed.web.body = f"<html>{sealed.marks.plain} {sealed.marks.japanese}</html>".encode()
    checkpoint.sekisho("lists", "refresh", "http", code=1)
    wanted = {f"sealed {form}": octets for form, octets in sealed.marks.wanted().items()}
    try:
        found = memory(checkpoint.pid(CONTROL), wanted | sealed.listed.wanted())
    except PermissionError:
        pytest.skip("reading another process's memory needs CAP_SYS_PTRACE; run as root")
    assert {form: where for form, where in found.items() if form in wanted} == {}
    assert {"plain by IDNA", "german by IDNA", "japanese by IDNA"} <= set(found), "names that are not sealed are found"


def test_nbnet_21_1_the_process_of_a_sealed_list_ends_with_its_work(sealed: Sealed) -> None:
    sealed.checkpoint.sekisho("lists", "refresh", "file")
    pid = sealed.checkpoint.pid(CONTROL)

    def alone() -> bool:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread may end while it is looked at
            return not any((thread / "children").read_text() for thread in Path(f"/proc/{pid}/task").iterdir())
        return False

    # The other lists are fetched by processes of their own, in their own time.
    wait_until(alone, deadline=120, what="the end of every process of a list")


def test_a_mark_is_found_in_a_memory_that_has_it_in_whatever_form() -> None:
    """The control: the search finds each form, alone and where it lies."""
    marks, other = Marks.new(), Marks.new()
    code = "import sys; held = bytearray.fromhex(sys.stdin.readline()); print(len(held), flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(b"00".join(octets.hex().encode() for octets in marks.wanted().values()) + b"\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) > 0
            try:
                found = memory(process.pid, marks.wanted() | {f"other {form}": octets for form, octets in other.wanted().items()})
            except PermissionError:
                pytest.skip("reading another process's memory needs CAP_SYS_PTRACE; run as root")
            assert set(found) == set(marks.wanted())
        finally:
            process.stdin.close()
            process.wait(30)
