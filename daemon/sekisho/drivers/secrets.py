"""Secrets of channels and of access servers: a systemd credential first, else the file the configuration names.

Read anew for each use: a secret that is changed counts from then on, and none is kept.
"""

from __future__ import annotations

import os
from pathlib import Path

from sekisho.model.errors import UnavailableError

MAX_SIZE = 4096


def read_credential(name: str, file: Path | None, credentials: str | None = None, section: str = "notices") -> str:
    """The secret, without white space at its ends. Raises UnavailableError with what to do.

    `credentials` defaults to $CREDENTIALS_DIRECTORY; `section` is the one of the main file that names it.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY") if credentials is None else credentials
    credential = Path(folder) / name if folder else None
    path = credential if credential is not None and credential.exists() else file
    if path is None:
        raise UnavailableError(f"there is no secret {name}; name its file in `{section}:` or load it as the systemd credential {name}")
    try:
        with path.open("rb") as opened:
            raw = opened.read(MAX_SIZE + 1)
    except OSError as error:
        raise UnavailableError(f"the secret {path} cannot be read ({error.strerror}); make it readable for the daemon alone") from None
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(raw) > MAX_SIZE:
        raise UnavailableError(f"the secret {path} is empty, too long or no UTF-8 text; write the secret alone into it")
    return text
