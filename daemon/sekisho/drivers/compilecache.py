"""Where compiled code is kept between starts, apart for every version of the source.

Numba notices a change in a function's own file only, not in the functions it calls, and what is kept to be
run without Numba (`snapshot.keptcode`) notices none; so the folder carries a digest of all compiled sources,
and code of another version is never met. To be called before anything compiled is called.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
CODE_VARIABLE = "SEKISHO_CODE_DIR"
"""Read by `snapshot.keptcode`, which is not imported here: it brings numpy, and the supervisor needs none."""
_PACKAGE = Path(__file__).resolve().parent.parent
_COMPILED = ("model", "snapshot", "plane", "lists", "flows", "dnstap", "drivers")


def use_compile_cache(environ: MutableMapping[str, str] = os.environ) -> Path:
    """Point Numba at the folder of this version's compiled code, and return it.

    It lies in $NUMBA_CACHE_DIR if that is set, else in systemd's cache folder, else in the user's.
    """
    folder = _folder(environ)
    environ[VARIABLE] = str(folder)
    environ[CODE_VARIABLE] = str(folder / "code")
    return folder


def _folder(environ: Mapping[str, str]) -> Path:
    digest = source_digest()
    given = environ.get(VARIABLE)
    if given and Path(given).name == digest:
        return Path(given)
    home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "/var/cache")) / ".cache")
    system = environ.get("CACHE_DIRECTORY", "").split(":")[0]
    return Path(given or system or Path(home) / "sekisho") / digest


def source_digest() -> str:
    """A digest of every source file that is compiled or says what compiled code takes as constant."""
    total = hashlib.blake2b(digest_size=8)
    for folder in _COMPILED:
        for path in sorted((_PACKAGE / folder).glob("*.py")):
            total.update(path.name.encode())
            total.update(path.read_bytes())
    return total.hexdigest()
