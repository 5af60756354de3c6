"""The service manager's side of a process: readiness, status, watchdog, inherited sockets.

Speaks the protocols of sd_notify(3) and sd_listen_fds(3) in a few lines, so that systemd and our own
`sekisho run` start the two processes alike. Without a manager every call does nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Self

_PATIENCE = 1.0
"""Seconds a word to a busy manager may wait; one about the watchdog is said again and does not."""

_AT_ONCE = 64
"""Notifications taken at a time."""

FIRST_FD = 3
"""Inherited sockets start after standard error (SD_LISTEN_FDS_START)."""


class Notifier:
    """Tells the manager named by NOTIFY_SOCKET how the process does."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Read NOTIFY_SOCKET and WATCHDOG_USEC once; `environ` is left as it is."""
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = _watchdog(environ)
        """Half the manager's patience: how often to call `watchdog`. None: it does not ask."""
        self.was_ready = False

    def ready(self, status: str = "") -> None:
        """The process does its work now."""
        self.was_ready = True
        self._send("READY=1", status)

    def status(self, text: str) -> None:
        """One line a person reads in `systemctl status`; never a customer or a name."""
        self._send("", text)

    def stopping(self, status: str = "") -> None:
        self._send("STOPPING=1", status)

    def watchdog(self) -> None:
        """The process is alive; not saying so for long enough gets it killed and started again."""
        self._send("WATCHDOG=1", "")

    def _send(self, state: str, status: str) -> None:
        if not self._address:
            return
        lines = [line for line in (state, f"STATUS={' '.join(status.split())}" if status else "") if line]
        # A manager that went away is no reason to stop doing the work.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            # Nor is one that does not read: its queue holds ten, and the next word would wait for ever.
            channel.settimeout(0.0 if state == "WATCHDOG=1" else _PATIENCE)
            channel.sendto("\n".join(lines).encode(), self._address)


@dataclass(frozen=True, slots=True)
class Inherited:
    """A socket the manager bound and listens on. `name` is its FileDescriptorName, or empty."""

    fd: int
    name: str

    def open(self) -> socket.socket:
        """The socket object; the descriptor is its own from then on."""
        return socket.socket(fileno=self.fd)


def inherited_sockets(environ: MutableMapping[str, str] = os.environ, pid: int | None = None) -> tuple[Inherited, ...]:
    """The sockets handed over by LISTEN_FDS, none if they are another process's (LISTEN_PID).

    The variables are taken out of `environ` and the descriptors closed to children, so that no
    child believes they are its own.
    """
    addressee, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if addressee != str(os.getpid() if pid is None else pid) or not count.isdigit():
        return ()
    found = [Inherited(FIRST_FD + index, names[index] if index < len(names) else "") for index in range(int(count))]
    for one in found:
        os.set_inheritable(one.fd, False)
    return tuple(found)


class NotifyChannel:
    """The NOTIFY_SOCKET of the children: each datagram with the process id the kernel vouches for.

    The socket has an abstract name (unix(7)), so that nothing of it is left behind however the process ends.
    """

    emptied = True
    """Whether what was taken last was all that waited; where it was not, what a child said may wait yet, or had no room to."""

    def __enter__(self) -> Self:
        self.reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.reader.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        name = f"sekisho-notify-{secrets.token_hex(8)}"
        self.reader.bind(f"\0{name}")
        self.address = f"@{name}"
        self.reader.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()

    def take(self) -> Iterator[tuple[int, dict[str, str]]]:
        """The notifications waiting, some of them if they are many: the sender's process id and its KEY=value lines."""
        self.emptied = False
        for _ in range(_AT_ONCE):  # anybody of this machine may send to an abstract name, and none keeps the reader busy
            try:
                data, ancillary, _, _ = self.reader.recvmsg(4096, socket.CMSG_SPACE(12))
            except BlockingIOError:
                self.emptied = True
                return
            for level, kind, raw in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    lines = (line.partition("=") for line in data.decode(errors="replace").splitlines())
                    yield int.from_bytes(raw[:4], sys.byteorder), {key: value for key, _, value in lines}


def _watchdog(environ: Mapping[str, str]) -> float | None:
    interval, addressee = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not interval.isdigit() or int(interval) == 0 or addressee not in ("", str(os.getpid())):
        return None
    return int(interval) / 2e6
