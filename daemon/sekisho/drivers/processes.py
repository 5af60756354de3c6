"""Child processes as a service manager starts them: sockets handed over, no orphan left behind.

Owns starting a program and hearing of signals; what is kept running, and for how long, is `app`'s.

A child gets the sockets as LISTEN_FDS from descriptor 3 on, NOTIFY_SOCKET to say it is ready, a
process group of its own, so that Ctrl-C reaches the supervisor alone, and a signal from the kernel
when its parent dies, however that died. A process of ours leaves no core file.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import selectors
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Self

from sekisho.drivers.notify import FIRST_FD

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_M_PERTURB, _WIPE = -6, 0x5A
_M_MMAP_THRESHOLD, _LARGE = -3, 1 << 20
_CANNOT_START = 126


def spawn(argv: Sequence[str], environ: Mapping[str, str], sockets: Sequence[tuple[str, int]] = (), output: int | None = None) -> int:
    """Start a program and return its process id.

    `sockets` are (name, descriptor) pairs; `output` is the descriptor its standard output and error
    go to, None for our own. Call it from the main thread: the child's death signal is
    bound to the life of the thread that started it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    # From here on this is the child, and the only way out is a new program or _exit.
    try:
        os.setpgid(0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(_CANNOT_START)
        signal.set_wakeup_fd(-1)
        for number in (*Signals.NUMBERS, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if output is not None:
            os.dup2(output, 1)
            os.dup2(output, 2)
        os.execve(argv[0], list(argv), _environment(environ, _hand_over(sockets)))  # noqa: S606 - no shell is the point
    except BaseException as error:  # noqa: BLE001 - nothing of the parent's may run on in the child
        os.write(2, f"{argv[0]}: {error}\n".encode())
    os._exit(_CANNOT_START)


def _hand_over(sockets: Sequence[tuple[str, int]]) -> list[str]:
    """Move the descriptors to FIRST_FD and up; first out of each other's way."""
    beyond = FIRST_FD + len(sockets)
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, beyond) for _, fd in sockets]
    for index, fd in enumerate(aside):
        os.dup2(fd, FIRST_FD + index, inheritable=True)
    return [name for name, _ in sockets]


def _environment(environ: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    kept = {key: value for key, value in environ.items() if key not in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID")}
    if names:
        kept |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
    return kept


def keep_no_core() -> None:
    """No core file and no debugger of another user: memory holds the list key, and names.

    What is freed is overwritten at once, so that nothing of a name stays in memory given back.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.mallopt(_M_PERTURB, _WIPE)


def give_large_memory_back() -> None:
    """Arrays of a list or of a table go back to the kernel when they are done with, reload after reload.

    Left to itself the allocator takes the next large ones from its heap, which then grows in pieces (mallopt(3)).
    """
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def end_with_parent() -> None:
    """Be killed by the kernel when the thread that started this process ends, however that was.

    Whether it ended before this call, the caller finds out: its parent is another then.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Signals:
    """Signals as bytes on a socket, so that one selector waits for all there is to wait for."""

    NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)

    def __enter__(self) -> Self:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in self.NUMBERS}
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.reader.close()
        self._writer.close()

    def take(self) -> list[int]:
        """The signals received since the last call."""
        with contextlib.suppress(BlockingIOError):
            return list(self.reader.recv(4096))
        return []

    def wait(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.reader, selectors.EVENT_READ)
            selector.select(seconds)
