"""The memory of a running process, searched for what must not be in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from sekisho.lists import idn

_CHUNK = 1 << 24


def shapes(label: str) -> dict[str, bytes]:
    """A label in every form a program could have it in: by IDNA (as text and in wire format), text of each width, backwards."""
    ascii_label = idn.to_wire(label)[1:-1]
    found = {"by IDNA": ascii_label, "in hexadecimal": ascii_label.hex().encode()}
    for words, text in (("", label), (", backwards", label[::-1])):
        found |= {f"as {form}{words}": text.encode(form) for form in ("utf-8", "utf-16-le", "utf-32-le")}
    with contextlib.suppress(UnicodeEncodeError):
        found["as latin-1"] = label.encode("latin-1")
    return found


def memory(pid: int, wanted: Mapping[str, bytes]) -> dict[str, str]:
    """Which of some octets are in a process's memory, and the mapping each is in first.

    Every mapping that can be read is searched, but for files mapped to be read only: they are what lies on
    disk. Needs CAP_SYS_PTRACE (PermissionError).
    """
    overlap = max(map(len, wanted.values())) - 1
    found: dict[str, str] = {}
    for mapping, content in _contents(pid, overlap):
        for form, octets in wanted.items():
            if form not in found and octets in content:
                found[form] = mapping
    return found


def _contents(pid: int, overlap: int) -> Iterator[tuple[str, bytes]]:
    """The mappings of a process, each in pieces that overlap."""
    mappings = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for mapping in mappings:
            span, mode, _, _, inode, *_ = mapping.split()
            start, end = (int(part, 16) for part in span.split("-"))
            if not mode.startswith("r") or ("w" not in mode and inode != "0"):
                continue
            while start < end:
                # What the kernel maps into every process (vvar, vsyscall) cannot be read; a page may be gone by now.
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    file.seek(start)
                    yield mapping, file.read(min(end - start, _CHUNK + overlap))
                start += _CHUNK
