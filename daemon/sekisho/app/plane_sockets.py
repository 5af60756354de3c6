"""The plane's listening sockets: those it is handed, and where they differ from what the configuration asks for.

Sockets that are handed over, by systemd's socket unit or by `sekisho run`, are used as they are: they hold queries that wait, and
the plane may not be allowed to bind others. What `listen:` and `workers:` then do not say is told, in the log and by `sekisho status`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from socket import socket

from sekisho.config.packets import PacketSettings
from sekisho.config.values import Endpoint
from sekisho.drivers.durable import write_file
from sekisho.drivers.listeners import bind_listeners, name_listeners
from sekisho.drivers.notify import inherited_sockets
from sekisho.drivers.sharedfiles import SOCKETS, read_left

_ADVICE = "change that with `systemctl edit sekisho-plane.socket`, or start `sekisho run` anew"


def open_sockets(settings: PacketSettings) -> tuple[dict[str, socket], list[str]]:
    """The sockets by name, inherited or else bound here; and what of them is otherwise than configured, a sentence each.

    Raises UnavailableError for an address that cannot be bound, or a socket that is neither UDP nor TCP.
    """
    found = name_listeners(one.open() for one in inherited_sockets())
    count = settings.workers or len(os.sched_getaffinity(0))
    if not found:
        return dict(bind_listeners([(one.host, one.port) for one in settings.listen], count)), []
    places = {name: Endpoint(*one.getsockname()[:2]) for name, one in found.items()}
    return found, list(differences(settings, places, count))


def differences(settings: PacketSettings, places: Mapping[str, Endpoint], count: int) -> Iterator[str]:
    """Where sockets that were handed over differ from `listen:` and `workers:`, a sentence each.

    `places`: the address of each by the socket's name (`drivers.listeners`); `count`: the workers asked for.
    """
    datagrams = Counter(place for name, place in places.items() if name.startswith("udp-"))
    streams = {place for name, place in places.items() if name.startswith("tcp-")}
    for one in settings.listen:
        here = [place for place in dict.fromkeys(places.values()) if _is_at(place, one)]
        without = [kind for kind, there in (("UDP", datagrams), ("TCP", streams)) if not any(place in there for place in here)]
        if without:
            yield f"`listen:` names {one}, where no socket was handed over for {' and '.join(without)}: nothing is answered; {_ADVICE}"
    for place in dict.fromkeys(places.values()):
        if not any(_is_at(place, one) for one in settings.listen):
            yield f"queries at {place} are answered, which `listen:` does not name: a socket for it was handed over; {_ADVICE}"
    for place, sockets in datagrams.items():
        # More than one a core harm nobody who asked for no number.
        if sockets < count or (settings.workers and sockets != count):
            asked = f"`workers: {settings.workers}`" if settings.workers else f"`workers: auto` ({count} cores)"
            yield f"{asked} is not what answers at {place}: there are as many workers as datagram sockets handed over, {sockets}; {_ADVICE}"


def _is_at(place: Endpoint, wanted: Endpoint) -> bool:
    """Whether a socket is where `listen:` has it; port 0 there is any."""
    return _address(place) == _address(wanted) and wanted.port in (0, place.port)


def _address(one: Endpoint) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(one.host.partition("%")[0])


def tell(folder: Path, said: Iterable[str]) -> None:
    """Leave it in the plane's folder for `sekisho status`. A folder that takes nothing keeps no plane from its work: the log has it."""
    with contextlib.suppress(OSError):
        write_file(folder / SOCKETS, "".join(f"{one}\n" for one in said).encode())


def told(folder: Path) -> list[str]:
    """What the newest plane left there."""
    return read_left(folder / SOCKETS).decode(errors="replace").splitlines()
