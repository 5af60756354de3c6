"""The UDP sockets of a primary: from which address of this machine something is sent, and by which socket.

A secondary takes an answer from the address it asked, and NOTIFY from the one it knows as its primary's. Where all addresses are
listened on (`0.0.0.0`, `::`) the kernel says which of them a datagram came to, and is told which one another leaves from (ip(7)
IP_PKTINFO, RFC 3542 section 6.2). Reads and writes belong to the loop that serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator

Place = tuple[str, int]
"""An address and a port."""
Take = Callable[[bytes, Place, Place], Iterable[bytes]]
"""What answers a datagram, of the place it came from and the one it came to."""

_LARGEST = 4096
"""Octets of a datagram at most."""
_IP_PKTINFO = 8
_ANCILLARY = 256
"""Octets of room for what comes beside a datagram."""


class Datagrams:
    """The sockets, in the order of `listen`."""

    def __init__(self, sockets: Iterable[socket.socket], take: Take) -> None:
        self._sockets = tuple(sockets)
        self._take = take
        for one in self._sockets:
            one.setblocking(False)
            if _is_any(one):
                _tell_where(one)

    def open(self) -> None:
        """Answer from now on, in the running loop."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.add_reader(one.fileno(), self._read, one)

    def close(self) -> None:
        """In the loop that was running at `open`."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one.fileno())
            one.close()

    def tell(self, wire: bytes, host: str, port: int, known: Place | None = None) -> None:
        """Send a datagram that answers nothing.

        It leaves from the place it is `known` to come from, else from the address the machine's routes give, else by the first socket
        of the family. Raises OSError if it could not be sent by any of them.
        """
        last = OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        for one, source in dict.fromkeys(self._ways(host, port, known)):
            try:
                _send(one, wire, (host, port), source)
            except OSError as error:
                last = error
            else:
                return
        raise last

    def _ways(self, host: str, port: int, known: Place | None) -> Iterator[tuple[socket.socket, str]]:
        """Sockets a host may be reached by, and the address to leave from; empty: as the kernel chooses."""
        fitting = [one for one in self._sockets if _is_six(one) == (":" in host)]
        if known is not None and (":" in known[0]) == (":" in host):
            yield from _at(fitting, *known)
        with contextlib.suppress(OSError):
            yield from _at(fitting, _route(host, port))
        for one in fitting[:1]:
            yield one, ""

    def _read(self, one: socket.socket) -> None:
        try:
            data, ancillary, flags, peer = one.recvmsg(_LARGEST, _ANCILLARY)
        except OSError:  # it was for nobody, or is gone
            return
        if flags & socket.MSG_TRUNC:
            return
        here: Place = one.getsockname()[:2]
        source = _destination(ancillary)
        if source:
            here = source, here[1]
        for answer in self._take(data, peer[:2], here):
            # It is asked again for what is lost.
            with contextlib.suppress(OSError):
                _send(one, answer, peer, source)


def _at(sockets: Iterable[socket.socket], host: str, port: int = 0) -> Iterator[tuple[socket.socket, str]]:
    """Sockets of an address, the one of that port first; last those of all addresses, which leave from it then."""
    names = [(one, *one.getsockname()[:2]) for one in sockets]
    yield from ((one, "") for one, address, at in names if (address, at) == (host, port))
    yield from ((one, "") for one, address, _ in names if address == host)
    yield from ((one, host) for one, *_ in names if _is_any(one))


def _route(host: str, port: int) -> str:
    """The address of this machine that leads to a host. Raises OSError if none does."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        address: str = probe.getsockname()[0]
        return address


def _send(one: socket.socket, wire: bytes, to: tuple[object, ...], source: str) -> None:
    """Raises OSError."""
    one.sendmsg([wire], [_leaving(source)] if source else [], 0, to)


def _leaving(source: str) -> tuple[int, int, bytes]:
    """The ancillary data by which a datagram leaves from an address."""
    address, _, scope = source.partition("%")
    packed = ipaddress.ip_address(address).packed
    if len(packed) == 4:
        return socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("@I4s4x", 0, packed)
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed + struct.pack("@I", int(scope or 0))


def _destination(ancillary: Iterable[tuple[int, int, bytes]]) -> str:
    """The address a datagram came to; empty: it is the socket's."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return socket.inet_ntop(socket.AF_INET, data[4:8])
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            address = socket.inet_ntop(socket.AF_INET6, data[:16])
            # A link-local address is one of an interface.
            return f"{address}%{struct.unpack_from('@I', data, 16)[0]}" if address.startswith("fe80:") else address
    return ""


def _is_six(one: socket.socket) -> bool:
    return one.family == socket.AF_INET6


def _is_any(one: socket.socket) -> bool:
    return ipaddress.ip_address(one.getsockname()[0].partition("%")[0]).is_unspecified


def _tell_where(one: socket.socket) -> None:
    if _is_six(one):
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        one.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
