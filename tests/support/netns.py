"""Network namespaces of a test's own: a customer's side, a gateway, and a server, joined by pairs of virtual interfaces."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.missing import skip_or_fail

_NEWNET = 0x40000000
_numbers = itertools.count(1)

CUSTOMER, NEIGHBOUR, SERVER = "192.0.2.10", "192.0.2.20", "198.51.100.2"
CUSTOMER6, NEIGHBOUR6, SERVER6 = "2001:db8:0:10::2", "2001:db8:0:10::1002", "2001:db8:0:99::2"
DOWN, UP = "cust0", "up0"
"""The gateway's interfaces."""


def require_root() -> None:
    """Skip (in CI: fail) where namespaces and nftables cannot be used."""
    reason = ""
    if os.geteuid() != 0:
        reason = "not root: no network namespaces"
    else:
        try:
            ctypes.CDLL("libnftables.so.1")
        except OSError:
            reason = "no libnftables.so.1 (Debian: libnftables1)"
        if not reason and subprocess.run(["ip", "netns", "list"], capture_output=True, check=False).returncode:
            reason = "no network namespaces here"
    if reason:
        skip_or_fail(reason)


@dataclass(frozen=True)
class Field:
    """The three namespaces by name."""

    customers: str
    gateway: str
    server: str

    def ip(self, namespace: str, *arguments: str) -> None:
        run("ip", "-n", namespace, *arguments)

    def gw(self, *argv: str) -> str:
        """What a program says in the gateway's namespace."""
        return run("ip", "netns", "exec", self.gateway, *argv)


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert not done.returncode, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def field() -> Iterator[Field]:
    mark = f"sk{os.getpid()}-{os.urandom(2).hex()}-{next(_numbers)}"  # a run that was killed may have left some behind
    one = Field(f"{mark}-c", f"{mark}-g", f"{mark}-s")
    made = []
    try:
        for name in (one.customers, one.gateway, one.server):
            run("ip", "netns", "add", name)
            made.append(name)
            one.ip(name, "link", "set", "lo", "up")
        one.ip(one.gateway, "link", "add", DOWN, "type", "veth", "peer", "name", "line0", "netns", one.customers)
        one.ip(one.gateway, "link", "add", UP, "type", "veth", "peer", "name", "net0", "netns", one.server)
        for namespace, device, *addresses in (
            (one.customers, "line0", f"{CUSTOMER}/24", f"{NEIGHBOUR}/24", f"{CUSTOMER6}/64", f"{NEIGHBOUR6}/64"),
            (one.gateway, DOWN, "192.0.2.1/24", "2001:db8:0:10::ffff/64"),
            (one.gateway, UP, "198.51.100.1/24", "2001:db8:0:99::ffff/64"),
            (one.server, "net0", f"{SERVER}/24", f"{SERVER6}/64"),
        ):
            for address in addresses:
                one.ip(namespace, "address", "add", address, "dev", device, *(("nodad",) if ":" in address else ()))
            one.ip(namespace, "link", "set", device, "up")
        for key in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            one.gw("sysctl", "-qw", key)
        for namespace, four, six in (
            (one.customers, "192.0.2.1", "2001:db8:0:10::ffff"),
            (one.server, "198.51.100.1", "2001:db8:0:99::ffff"),
        ):
            one.ip(namespace, "route", "add", "default", "via", four)
            one.ip(namespace, "-6", "route", "add", "default", "via", six)
        yield one
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def inside(namespace: str, step: Callable[[], Any]) -> Any:
    """Do a step from a thread in a namespace: a socket made there stays in it."""
    found: list[Any] = []

    def go() -> None:
        number = os.open(Path("/run/netns") / namespace, os.O_RDONLY)
        library = ctypes.CDLL(None, use_errno=True)
        try:
            assert library.setns(number, _NEWNET) == 0
            found.append(step())
        except BaseException as error:  # noqa: BLE001 - told to who asked
            found.append(error)
        finally:
            os.close(number)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def opened(namespace: str, address: str, kind: int = socket.SOCK_STREAM, port: int = 0) -> socket.socket:
    """A socket of a namespace, bound to an address."""

    def make() -> socket.socket:
        one = socket.socket(family(address), kind)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
        one.settimeout(60)
        return one

    made: socket.socket = inside(namespace, make)
    return made


@contextlib.contextmanager
def transfer(one: Field, address: str, server: str, *, up: bool, port: int = 0, whole: bool = False) -> Iterator[Callable[[], int]]:
    """Bytes that have arrived of a TCP transfer which goes on as long as the block: towards a customer, or from one.

    `whole`: all that was sent has arrived at the end, and no packet of it comes afterwards.
    """
    with opened(one.server, server, port=port) as listener, opened(one.customers, address) as client:
        listener.listen(1)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.settimeout(60)
        sender, receiver = (client, accepted) if up else (accepted, client)
        stop = threading.Event()
        arrived = [0]

        def send() -> None:
            block = bytes(65536)
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    sender.send(block)

        def receive() -> None:
            with contextlib.suppress(OSError):
                while got := receiver.recv(1 << 18):
                    arrived[0] += len(got)

        threads = [threading.Thread(target=send), threading.Thread(target=receive)]
        for thread in threads:
            thread.start()
        try:
            yield lambda: arrived[0]
        finally:
            stop.set()
            if whole:
                _to_the_end(sender, receiver, threads)
            for end in (accepted, client):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            accepted.close()


def _to_the_end(sender: socket.socket, receiver: socket.socket, threads: list[threading.Thread]) -> None:
    """Have all arrive that the first thread has sent, and both ends know that it did."""
    sending, receiving = threads
    sending.join()
    with contextlib.suppress(OSError):
        sender.shutdown(socket.SHUT_WR)
        receiving.join()
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        receiver.close()
        sender.recv(1)  # ends with the reset, the last packet there is


def rate_of(arrived: Callable[[], int], seconds: float = 1.5, settle: float = 0.7) -> float:
    """Bit/s that arrive, measured over `seconds` once TCP has found its pace."""
    time.sleep(settle)
    first, began = arrived(), time.monotonic()
    time.sleep(seconds)
    last, ended = arrived(), time.monotonic()
    return (last - first) * 8 / (ended - began)


def flows_freely(arrived: Callable[[], int], rate: float = 100e6) -> bool:
    """Whether a transfer comes to a rate no limit of a test leaves, in one of its half seconds: on a busy machine not in each."""
    found = 0.0
    for _ in range(60):
        found = max(found, rate_of(arrived, 0.5, 0.1))
        if found > rate:
            return True
    raise AssertionError(f"more than {rate / 1e6:g} Mbit/s are free, and there are {found / 1e6:.2f}")


def keeps_rate(arrived: Callable[[], int], promised: float, within: float = 0.05) -> bool:
    """Whether a transfer comes to the promised rate, over two seconds at the least.

    TCP hands over what it holds in lumps, and on a busy machine sender and receiver may not get to run for a while: the longer it
    is looked at, the less that counts.
    """
    time.sleep(0.7)
    first, began = arrived(), time.monotonic()
    found = 0.0
    for seconds in (2.0, 1.0, 1.0, 2.0, 4.0, 8.0):
        time.sleep(seconds)
        found = (arrived() - first) * 8 / (time.monotonic() - began)
        if abs(found - promised) <= promised * within:
            return True
    raise AssertionError(f"{promised / 1e6:g} Mbit/s are promised, and there are {found / 1e6:.2f}")
