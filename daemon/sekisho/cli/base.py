"""What every verb shares: the global options at any level, the way to the daemon, errors and exit codes.

`--config` and `--json` may stand before or after any verb: each command carries them, and the
innermost one given counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import click

from sekisho.cli.client import AnsweredError, Client, Json, config_file, socket_path
from sekisho.cli.text import plain
from sekisho.model.errors import ConfigError, SekishoError

_CONFIG = "sekisho.config"
_JSON = "sekisho.json"


class FailedError(click.ClickException):
    """Refused or failed: exit code 1, told as JSON on standard output or as a sentence on standard error."""

    exit_code = 1

    def __init__(self, body: Json, *, as_json: bool) -> None:
        super().__init__(str(body.get("error", "failed")))
        self._body = body
        self._as_json = as_json

    def show(self, file: IO[Any] | None = None) -> None:
        if self._as_json:
            print_json(self._body)
            return
        out = sys.stderr if file is None else file
        faults = self._body.get("faults") or []
        for line in fault_lines(faults):
            print(line, file=out)
        print(f"sekisho: {plain(self.message)}", file=out)
        if self._body.get("hint"):
            print(f"  {plain(self._body['hint'])}", file=out)


class Verb(click.Command):
    """A command that takes the global options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_global_options())


class Verbs(click.Group):
    """A group of commands that takes the global options and turns our errors into exit code 1."""

    command_class = Verb

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_global_options())

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SekishoError as error:
            raise FailedError(_body_of(error), as_json=wants_json(ctx)) from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the library's signature
        """In the order they were written, which is the order of their use."""
        return list(self.commands)


def _global_options() -> list[click.Option]:
    return [
        click.Option(
            ["--config"],
            type=click.Path(dir_okay=False),
            metavar="FILE",
            expose_value=False,
            callback=_remember(_CONFIG),
            help="The configuration; default $SEKISHO_CONFIG, then ./sekisho.yaml, then /etc/sekisho/sekisho.yaml.",
        ),
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_remember(_JSON), help="Answer in JSON."),
    ]


def _remember(key: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        if value:
            ctx.meta[key] = value
        return value

    return callback


def wants_json(ctx: click.Context | None = None) -> bool:
    return bool((ctx or click.get_current_context()).meta.get(_JSON))


def chosen_config() -> Path:
    """The configuration file of this call. Raises UnavailableError if none is named and none is found."""
    return config_file(click.get_current_context().meta.get(_CONFIG))


def client() -> Client:
    """A client of the daemon of the chosen configuration."""
    return Client(socket_path(chosen_config()))


def print_json(value: object) -> None:
    """JSON on standard output; characters outside ASCII that a terminal would obey are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    harmless = all(plain(line) == line for line in text.split("\n"))
    print(text if harmless else json.dumps(value, indent=2))


def answer(body: Json, lines: Callable[[Json], Iterable[str]]) -> None:
    """Print an answer of the daemon: as it is with `--json`, else the lines made of it."""
    if wants_json():
        print_json(body)
        return
    for line in lines(body):
        print(line)


def fault_lines(faults: Iterable[Json]) -> Iterable[str]:
    """`file:line: path: message`, one a line."""
    for fault in faults:
        where = f"{fault['file']}:{fault['line']}" if fault.get("line") else fault["file"]
        what = f"{fault['path']}: {fault['message']}" if fault.get("path") else fault["message"]
        yield plain(f"{where}: {what}")


def fault_bodies(error: ConfigError) -> list[Json]:
    return [{"file": f.file, "line": f.line, "path": f.path, "message": f.message} for f in error.faults]


def _body_of(error: SekishoError) -> Json:
    if isinstance(error, AnsweredError):
        return error.body
    if isinstance(error, ConfigError):
        count = len(error.faults)
        faults = f"{count} fault{'' if count == 1 else 's'} in the configuration"
        return {"error": faults, "hint": "correct them and try again", "faults": fault_bodies(error)}
    wrong, _, hint = str(error).partition("; ")
    return {"error": wrong, "hint": hint}
