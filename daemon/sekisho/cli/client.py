"""The client of the API socket: standard library only, since every verb pays for what it imports."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sekisho.model.errors import ConfigError, SekishoError, UnavailableError

DEFAULT_FILES = ("sekisho.yaml", "/etc/sekisho/sekisho.yaml")
DEFAULT_RUNTIME = "/run/sekisho"
DEFAULT_STATE = "/var/lib/sekisho"
SOCKET_NAME = "sekishod.sock"
TIMEOUT = 600.0
"""Seconds to wait for an answer: a feed of millions of names may be fetched meanwhile."""

Json = dict[str, Any]


class AnsweredError(SekishoError):
    """The daemon refused or failed; `body` is its answer: error, hint and perhaps faults."""

    def __init__(self, body: Json) -> None:
        self.body = body
        super().__init__(str(body.get("error", "the daemon refused")))


def config_file(given: str | None) -> Path:
    """The configuration file: `--config`, else $SEKISHO_CONFIG, else the first of the usual places there is."""
    chosen = given or os.environ.get("SEKISHO_CONFIG")
    if chosen:
        return Path(chosen)
    found = next((Path(name) for name in DEFAULT_FILES if _is_there(name)), None)
    if found is None:
        places = " nor ".join(DEFAULT_FILES)
        raise UnavailableError(f"there is no configuration: neither --config nor SEKISHO_CONFIG is given, nor is there {places}; name one")
    return found


def _is_there(name: str) -> bool:
    """Whether there is a file, as far as the caller may know: one that is hidden from them counts."""
    try:
        os.stat(name)  # noqa: PTH116 - Path.exists differs from version to version for what may not be looked at
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def socket_path(config: Path) -> Path:
    """Where the daemon of this configuration listens."""
    return _folder(config, "runtime", DEFAULT_RUNTIME) / SOCKET_NAME


def state_path(config: Path) -> Path:
    """Where the daemon of this configuration keeps its record."""
    return _folder(config, "state", DEFAULT_STATE)


def _folder(config: Path, key: str, usual: str) -> Path:
    """One folder the configuration names.

    One who may use the daemon need not be one who may read its files: for them the usual file names the usual place.

    Reads the one key it needs: the daemon's own parser says what is wrong with the rest (`sekisho check`).
    """
    from sekisho.config.document import scan_document  # noqa: PLC0415 - client verbs start fast

    try:
        document = scan_document(config.read_text("utf-8").removeprefix("\ufeff"), str(config)).value
    except PermissionError:
        if str(config) == DEFAULT_FILES[-1]:
            return Path(usual)
        raise UnavailableError(f"the configuration {config} may not be read by you; have its mode changed, or name another") from None
    except OSError as error:
        raise UnavailableError(f"the configuration {config} cannot be read ({error.strerror}); name another with --config") from None
    except (ConfigError, UnicodeDecodeError):
        raise UnavailableError(f"the configuration {config} is not YAML; run `sekisho check` to see where") from None
    return config.parent / str(document.get(key, usual) if isinstance(document, dict) else usual)


class Client:
    """Asks one daemon."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, route: str, **fields: Any) -> Json:
        query = urlencode({name: value for name, value in fields.items() if value is not None})
        return self._ask("GET", f"{route}?{query}" if query else route, None)

    def post(self, route: str, **fields: Any) -> Json:
        return self._ask("POST", route, fields)

    def delete(self, route: str, **fields: Any) -> Json:
        return self._ask("DELETE", route, fields)

    def _ask(self, method: str, target: str, fields: Json | None) -> Json:
        # Not needed by `run` and `check`, and the start of the daemon waits for what is imported here.
        from sekisho.cli.connection import BAD_REQUEST, Connection, HTTPException  # noqa: PLC0415

        connection = Connection(self._path, TIMEOUT)
        body = None if fields is None else json.dumps({name: value for name, value in fields.items() if value is not None})
        try:
            connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except PermissionError:
            raise UnavailableError(
                f"you may not use the socket {self._path}; "
                "have yourself or a group of yours named under `roles:` in sekisho.yaml, or ask as root"
            ) from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise UnavailableError(f"the daemon is not running (nothing listens on {self._path}); start it with `sekisho run`") from None
        except TimeoutError:
            raise UnavailableError(f"the daemon did not answer within {TIMEOUT:.0f} seconds; look at its log") from None
        except (OSError, HTTPException, ValueError) as error:
            raise UnavailableError(f"the daemon went away while it was asked ({type(error).__name__}); look at its log") from None
        finally:
            connection.close()
        if not isinstance(answer, dict):
            raise UnavailableError(f"what listens on {self._path} is not sekishod; see `runtime` in the configuration")
        if response.status >= BAD_REQUEST:
            raise AnsweredError(answer)
        return answer
