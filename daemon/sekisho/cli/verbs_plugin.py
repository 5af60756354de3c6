"""Verbs about the checkpoint within a resolver."""

from __future__ import annotations

from pathlib import Path

import click

from sekisho.cli.base import Verbs, answer, chosen_config
from sekisho.model.errors import ConfigError, Fault

_RESOLVERS = ("unbound", "dnsdist", "recursor", "knot")


@click.group(cls=Verbs)
def plugin() -> None:
    """The checkpoint within the resolver you run: no hop before it, the same verdicts.

    The resolver's own process asks the shared tables; sekishod runs beside it on the same machine, and
    sekisho-plane need not run at all.
    """


@plugin.command("config")
@click.argument("resolver", type=click.Choice(_RESOLVERS))
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder for the plugin's files.")
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The list key, where the resolver's user reads it; default: the daemon's.",
)
@click.option(
    "--fail", type=click.Choice(["open", "closed"]), default="open", show_default=True, help="Without tables: let through, or refuse."
)
def config(resolver: str, into: Path, key: Path | None, fail: str) -> None:
    """Write the plugin's files, and print the lines of the resolver's configuration.

    Unbound's plugin carries machine code for this kind of processor: run this on the machine it is for, and
    again after an upgrade of Sekisho.

    \b
      sekisho plugin config unbound --into /etc/unbound/sekisho --key /etc/unbound/sekisho/list.key
      sekisho plugin config recursor --into /etc/powerdns/sekisho --fail closed
    """
    # Client verbs start fast; and where compiled code is kept has to be settled before what is compiled is imported.
    from sekisho.config.packets import parse_packet_settings  # noqa: PLC0415
    from sekisho.drivers.compilecache import use_compile_cache  # noqa: PLC0415
    from sekisho.drivers.pluginfiles import PluginPlan, write_plugin  # noqa: PLC0415

    use_compile_cache()
    path = chosen_config()
    try:
        settings = parse_packet_settings(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Fault(str(path), 0, f"cannot be read ({error}); name the configuration with --config")]) from error
    plan = PluginPlan(into.absolute(), settings.runtime / "plane", (key or settings.state / "list.key").absolute(), fail == "closed")
    lines = write_plugin(resolver, plan)
    answer({"resolver": resolver, "into": str(plan.into), "configuration": lines}, lambda body: [body["configuration"].rstrip("\n")])
