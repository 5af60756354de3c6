"""Recordings of real programs: a file nfcapd wrote, of what softflowd told it and of NetFlow v5, and the capture softflowd read."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.model.customers import Prefix
from sekisho.model.sessions import Accounting, AccountingKind
from support import free_port, recordings, require_binary, wait_until
from unit.app.test_replay import PACK, SETTINGS, run

pytestmark = pytest.mark.peers
BEGAN = float(int(time.time())) - 3600
ROTATE = str(10**8)
"""Seconds of a file of nfcapd's. They begin at multiples of it since 1970, whatever the hour: what a test sends is in one."""
HANDED = "198.51.100.200"
"""An address that comes by log-in."""


@contextlib.contextmanager
def nfcapd(folder: Path) -> Iterator[tuple[int, Path]]:
    """A collector on a port; its file stands in `folder` once the block has ended."""
    port = free_port("127.0.0.1")
    folder.mkdir()
    words = [require_binary("nfcapd"), "-b", "127.0.0.1", "-p", str(port), "-w", str(folder), "-t", ROTATE]
    with (folder.parent / f"{folder.name}.log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as collector:
        try:
            wait_until(lambda: f":{port:04X} " in Path("/proc/net/udp").read_text(), what="nfcapd that listens")
            yield port, folder
        finally:
            collector.send_signal(signal.SIGTERM)
            collector.wait(30)


def written(folder: Path) -> Path:
    """The one file with flows."""
    return max(folder.glob("nfcapd.2*"), key=lambda path: path.stat().st_size)


def received(port: int) -> bool:
    """Whether nothing waits at a port any more."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines() if f":{port:04X} " in line]
    return all(row[4].endswith(":00000000") for row in rows)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(PACK.replace("COUNT", "20"))
    path = recordings.make_site(tmp_path, "./mine.yaml", more=SETTINGS)
    told = [Accounting(AccountingKind.START, "nas-1", BEGAN, "s1", "hana", (Prefix.parse(HANDED),), seconds=0)]
    recordings.keep_sessions(tmp_path / "state", told, {"hana": "c-2"})
    return path


def body(site: Path, path: Path, *words: str) -> dict[str, object]:
    code, text = run("replay", path, "--config", site, "--json", *words)
    assert code == 0, text
    told: dict[str, object] = json.loads(text)["policies"][0]
    return told


def test_what_softflowd_told_nfcapd_affects_whom_the_capture_it_read_affects(site: Path, tmp_path: Path) -> None:
    spam = [
        recordings.frame(BEGAN + second, address, f"203.0.113.{1 + second}", 6, recordings.opening(25))
        for address in (recordings.home(1), HANDED)
        for second in range(40)
    ]
    data = struct.pack("!4H", 443, 40000, 1408, 0) + bytes(1400)
    spam += [recordings.frame(BEGAN + 60 + turn / 100, "203.0.113.9", recordings.home(3), 17, data) for turn in range(500)]
    spam.append(recordings.frame(BEGAN + 400, recordings.home(4), "203.0.113.9", 6, recordings.opening(443)))
    capture = recordings.write(tmp_path / "day.pcap", spam)
    with nfcapd(tmp_path / "flows") as (port, folder):
        command = [
            require_binary("softflowd"),
            "-d",
            "-r",
            str(capture),
            "-n",
            f"127.0.0.1:{port}",
            "-v",
            "9",
            "-p",
            "pid",
            "-c",
            "control",
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=tmp_path, stdin=subprocess.DEVNULL)
        wait_until(lambda: received(port), what="nfcapd to have read all")
    told = [body(site, path) for path in (capture, written(folder))]
    for one in told:
        found = [(measure["customer"], measure["clause"]) for measure in one["measures"]]  # type: ignore[attr-defined]
        assert found == [("c-1", "mine/2"), ("c-2", "mine/2")], one
    assert [one["recording"]["octets"] for one in told] == [81 * 40 + 500 * 1428] * 2  # type: ignore[index]


def v5(at: float, octets: int, to: str = HANDED) -> bytes:
    """One record of NetFlow v5: octets to a line in the minute before."""
    up = 10_000_000
    header = struct.pack("!HHIIIIBBH", 5, 1, up, int(at), 0, 0, 0, 0, 0)
    ends = socket.inet_aton("203.0.113.1") + socket.inet_aton(to) + bytes(4)
    return header + ends + struct.pack("!HHIIIIHHBBBBHHBBH", 0, 0, 9, octets, up - 60_000, up, 443, 50000, 0, 16, 6, 0, 0, 0, 0, 0, 0)


def test_netflow_by_way_of_nfcapd_finds_who_occupies_the_segment_and_a_changed_pack_does_not(site: Path, tmp_path: Path) -> None:
    with nfcapd(tmp_path / "flows") as (port, folder), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
        for minute in range(15):
            exporter.sendto(v5(BEGAN + 60 + 60 * minute, 450_000_000), ("127.0.0.1", port))
            for neighbour in (3, 4, 5):
                exporter.sendto(v5(BEGAN + 60 + 60 * minute, 5_000_000, recordings.home(neighbour)), ("127.0.0.1", port))
        wait_until(lambda: received(port), what="nfcapd to have read all")
    (measure,) = body(site, written(folder))["measures"]  # type: ignore[misc]
    assert (measure["customer"], measure["clause"], measure["effect"]) == ("c-2", "mine/3", "limit-rate")
    changed = tmp_path / "changed.yaml"
    changed.write_text(PACK.replace("COUNT", "20").replace("share: 50%", "share: 90%"))
    code, text = run("replay", written(folder), "--config", site, "--terms", changed)
    assert code == 0
    assert "mine/3, no more: c-2" in text


def test_a_file_of_nfcapd_that_is_cut_off_or_has_no_flows_is_refused_in_a_sentence(site: Path, tmp_path: Path) -> None:
    with nfcapd(tmp_path / "flows") as (port, folder), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
        exporter.sendto(v5(BEGAN + 60, 450_000_000), ("127.0.0.1", port))
        wait_until(lambda: received(port), what="nfcapd to have read all")
    path = written(folder)
    for size in (2, 30, path.stat().st_size - 20):
        cut = tmp_path / "cut"
        cut.write_bytes(path.read_bytes()[:size])
        code, text = run("replay", cut, "--config", site)
        assert code == 1, (size, text)
        assert "Traceback" not in text
        assert text.count("\n") == 2, (size, text)
    with nfcapd(tmp_path / "idle") as (_, folder):
        pass
    code, text = run("replay", written(folder), "--config", site)
    assert code == 1
    assert "has no flows" in text
