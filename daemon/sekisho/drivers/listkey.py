"""The key of the names' digests: 16 secret bytes, from a systemd credential or the state folder.

With `LoadCredential=list-key:...` the secret never lies beside the lists it protects; without it
the daemon makes one on first use. Whoever holds the key and a list can test names against it, so
the file is readable by the daemon alone.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sekisho.drivers.durable import sync_folder
from sekisho.model.errors import TableError
from sekisho.snapshot.digest import Key, key_of

CREDENTIAL = "list-key"
FILE = "list.key"
SIZE = 16


def load_key(state: Path, credentials: str | None = None) -> Key:
    """The list key: `list-key` of the credentials folder, else `<state>/list.key`, made if missing.

    `credentials` defaults to $CREDENTIALS_DIRECTORY. Raises TableError if what stands there is no key.
    """
    return key_of(read_secret(state, credentials))


def find_key(state: Path, credentials: str | None = None) -> Key | None:
    """The list key as `load_key` finds it, or None where there is none yet: for who may not make one."""
    secret = _find(state, credentials)
    return None if secret is None else key_of(secret)


def read_secret(state: Path, credentials: str | None = None) -> bytes:
    """The 16 bytes of the key; see `load_key`."""
    secret = _find(state, credentials)
    if secret is None:
        _create(state / FILE)
        secret = _find(state, "")
    if secret is None:
        raise TableError(f"the list key {state / FILE} was taken away as it was made; start again")
    return secret


def _find(state: Path, credentials: str | None) -> bytes | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY") if credentials is None else credentials
    for path in (*([Path(folder) / CREDENTIAL] if folder else ()), state / FILE):
        raw = _read(path)
        if raw is not None:
            return _parse(raw, path)
    return None


def _read(path: Path) -> bytes | None:
    """What stands there; None if there is no such file. One that is there and cannot be read is never passed over."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TableError(f"the list key {path} cannot be read ({error.strerror}); make it readable for the daemon") from error


def _parse(raw: bytes, path: Path) -> bytes:
    """Raw bytes, or hexadecimal digits with white space around them."""
    if len(raw) == SIZE:
        return raw
    try:
        secret = bytes.fromhex(raw.decode("ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != SIZE:
        raise TableError(
            f"the list key {path} is not {SIZE} bytes nor {SIZE * 2} hexadecimal digits; put back the right one, sealed lists depend on it"
        )
    return secret


def _create(path: Path) -> None:
    """Write a new key, whole or not at all; where two start at once, the first one's stands."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(SIZE))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise TableError(f"the list key {path} cannot be made ({error.strerror}); make the state folder writable for the daemon") from error
