"""A wall clock of some processes' own, set while they run: libfaketime (Debian: faketime) before the C library.

It moves CLOCK_REALTIME alone, as settimeofday(2) does; the monotonic clock and the times of files stay.
"""

from __future__ import annotations

from pathlib import Path


class FakeClock:
    """What time the processes believe it is."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set("+0")

    def set(self, offset: str) -> None:
        """`offset` to this machine's clock: +4d, -1d."""
        aside = self._file.with_suffix(".new")
        aside.write_text(f"{offset}\n")
        aside.rename(self._file)

    @property
    def environ(self) -> dict[str, str]:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
        }
