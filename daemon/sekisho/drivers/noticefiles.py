"""The templates of notices on disk: the shipped ones in the package, an operator's in a folder of theirs."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from sekisho.measures.texts import Templates
from sekisho.model.errors import ConfigError, Fault

MAX_FILES = 1000
MAX_SIZE = 64 * 1024
"""Octets of one template at most."""
_SUFFIXES = frozenset({".txt", ".html"})


def load_templates(folder: Path | None = None) -> Templates:
    """The templates in force. Raises ConfigError with every fault of the operator's."""
    shipped = {
        one.name: one.read_text(encoding="utf-8")
        for one in importlib.resources.files("sekisho.measures").joinpath("templates").iterdir()
        if one.name.endswith((".txt", ".html"))
    }
    if folder is None:
        return Templates(shipped)
    own, faults = _read(folder)
    templates = Templates(shipped, own)
    faults += templates.check(str(folder))
    if faults:
        raise ConfigError(faults)
    return templates


def _read(folder: Path) -> tuple[dict[str, str], list[Fault]]:
    if not folder.is_dir():
        return {}, [Fault(str(folder), 0, "the folder of templates is not there; make it, or leave `templates` out")]
    found: dict[str, str] = {}
    faults = []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in _SUFFIXES or not path.is_file():
            continue
        if len(found) == MAX_FILES:
            faults.append(Fault(str(folder), 0, f"holds more than {MAX_FILES} templates; take some away"))
            break
        try:
            data = path.read_bytes()
            if len(data) > MAX_SIZE:
                faults.append(Fault(str(path), 0, f"is longer than {MAX_SIZE} octets; a notice is shorter"))
                continue
            found[path.relative_to(folder).as_posix()] = data.decode("utf-8-sig")
        except OSError as error:
            faults.append(Fault(str(path), 0, f"cannot be read: {error.strerror}; check its owner and mode"))
        except UnicodeDecodeError:
            faults.append(Fault(str(path), 0, "the text is not UTF-8; save the file as UTF-8"))
    return found, faults
