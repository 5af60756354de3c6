"""The files of a site, read: their text, their customers, and in short what stood in each.

Owns opening them and saying why one cannot be read. Not which files a site has, nor what they mean (`drivers.site`).
"""

from __future__ import annotations

import io
import stat
from pathlib import Path

from sekisho.config.bulk import read_bulk
from sekisho.config.register import Customers
from sekisho.drivers.filedigest import digest_of, stream_digest
from sekisho.model.errors import ConfigError, Fault


class SiteFiles:
    """Reads files; `digests` is what stood in each (`drivers.filedigest`), by its absolute path."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    def text(self, path: Path, file: str) -> str:
        """The text of a file, `file` in messages. Raises ConfigError if it cannot be read or is not UTF-8."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ConfigError([Fault(file, 0, "the file is not there; name another one with --config or SEKISHO_CONFIG")]) from None
        except OSError as error:
            raise ConfigError([Fault(file, 0, f"cannot be read: {error.strerror}; check its owner and mode")]) from None
        self.digests[str(path.absolute())] = digest_of(data)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError([Fault(file, line, "the text is not UTF-8; save the file as UTF-8")]) from None

    def customers(self, path: Path) -> tuple[Customers, list[Fault]]:
        """A customer file (CSV) of any size, as it streams. Raises ConfigError if no row of it can be read."""
        file = shown(path)
        try:
            with path.open("rb") as data:
                self.digests[str(path.absolute())] = stream_digest(data)
                data.seek(0)
                # What is not UTF-8 becomes characters no cell may have, so that the fault names its line.
                with io.TextIOWrapper(data, encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
                    return read_bulk(lines, file)
        except OSError as error:
            raise ConfigError([Fault(file, 0, f"cannot be read: {error.strerror}; check its owner and mode")]) from None


def is_missing(path: Path) -> bool:
    """Whether there is no such file. One in a folder that may not be looked into might be: reading it tells why it cannot be."""
    # Not `is_file`, which from Python 3.14 on says of a file that it may not look at that there is none.
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        return False


def shown(path: Path) -> str:
    """A path as messages show it: relative where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # the folder one stands in may be gone
        return str(path)
