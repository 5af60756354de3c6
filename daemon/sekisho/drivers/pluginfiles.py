"""The files a resolver needs to carry the checkpoint in itself, and the lines of its configuration that load them.

Owns what is written and printed for each resolver; what the plugins do is `sekisho.plugin`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import sekisho
from sekisho.drivers.durable import write_file
from sekisho.model.errors import UnavailableError

RESOLVERS = ("unbound", "dnsdist", "recursor", "knot")
_SCRIPT, _SECOND, _CODE = "sekisho_unbound.py", "sekisho_unbound_second.py", "verdict.code"
_LUA, _ENTRY = "sekisho.lua", "sekisho_{}.lua"


@dataclass(frozen=True, slots=True)
class PluginPlan:
    """Where things lie, and what is to become of queries without tables."""

    into: Path
    """The folder the files go into."""
    tables: Path
    key: Path
    closed: bool


def write_plugin(resolver: str, plan: PluginPlan) -> str:
    """Write a resolver's files and return what its administrator has to put into the configuration. Raises UnavailableError."""
    try:
        plan.into.mkdir(mode=0o755, parents=True, exist_ok=True)
        if resolver == "unbound":
            return _write_unbound(plan)
        return _write_lua(resolver, plan)
    except OSError as error:
        raise UnavailableError(f"{plan.into} cannot be written ({error.strerror}); name another folder with --into") from error


def _write_unbound(plan: PluginPlan) -> str:
    # Brings the compiled packet path, of which nothing else here has need.
    from sekisho.drivers.plugincode import write_plugin_code  # noqa: PLC0415

    write_plugin_code(plan.into / _CODE)
    found = importlib.util.find_spec("llvmlite")
    packages = Path(found.origin).parent.parent if found and found.origin else Path()
    paths = [str(Path(sekisho.__file__).resolve().parent.parent), str(packages)]
    script = _UNBOUND.format(
        paths=paths, tables=str(plan.tables), key=str(plan.key), code=str(plan.into / _CODE), closed=plan.closed
    )  # fmt: skip
    write_file(plan.into / _SCRIPT, script.encode(), mode=0o644)
    write_file(plan.into / _SECOND, _UNBOUND_SECOND.format(paths=paths).encode(), mode=0o644)
    readable = [f"#   {path.rstrip('/')}/{{,**}} r,\n#   {path.rstrip('/')}/**.so* mr," for path in dict.fromkeys(paths)]
    own = [f"#   {plan.into}/{{,**}} r,", f"#   {plan.key} r,", f"#   {plan.tables}/{{,**}} rwk,"]
    return _UNBOUND_CONF.format(
        script=plan.into / _SCRIPT,
        second=plan.into / _SECOND,
        into=plan.into,
        key=plan.key,
        tables=plan.tables,
        confined="\n".join([*readable, *own]),
    )


def _write_lua(resolver: str, plan: PluginPlan) -> str:
    reader = Path(sekisho.__file__).resolve().parent / "plugin" / _LUA
    write_file(plan.into / _LUA, reader.read_bytes(), mode=0o644)
    entry = plan.into / _ENTRY.format(resolver)
    text = _ENTRIES[resolver].format(reader=plan.into / _LUA, tables=plan.tables, key=plan.key, closed=str(plan.closed).lower())
    write_file(entry, text.encode(), mode=0o644)
    return _LUA_CONF[resolver].format(entry=entry)


_UNBOUND = """\
# Written by `sekisho plugin config unbound`. Write it anew after an upgrade of Sekisho, and on every machine.
import sys
from pathlib import Path

sys.path += {paths!r}

import unboundmodule
from sekisho.plugin.checkpoint import Settings
from sekisho.plugin.unbound import Plugin

_plugin = Plugin(unboundmodule, Settings(Path({tables!r}), Path({key!r}), Path({code!r}), closed={closed}))
init_standard, deinit, inform_super, operate = _plugin.init_standard, _plugin.deinit, _plugin.inform_super, _plugin.operate
# Unbound runs all scripts in one namespace and keeps no reference to what it found in it.
vars(unboundmodule).setdefault("_sekisho", []).append((init_standard, deinit, inform_super, operate))
"""

_UNBOUND_SECOND = """\
# Written by `sekisho plugin config unbound`: stands behind the validator and keeps it from marking the cache.
import sys

sys.path += {paths!r}

import unboundmodule
from sekisho.plugin.unbound import Unmarked

_plugin = Unmarked(unboundmodule)
init_standard, deinit, inform_super, operate = _plugin.init_standard, _plugin.deinit, _plugin.inform_super, _plugin.operate
# Unbound runs all scripts in one namespace and keeps no reference to what it found in it.
vars(unboundmodule).setdefault("_sekisho", []).append((init_standard, deinit, inform_super, operate))
"""

_UNBOUND_CONF = """\
# unbound.conf: the checkpoint comes first. subnetcache keeps customers' queries apart; ignore-cd-flag keeps a query
# with CD from being answered out of the cache before the checkpoint.
server:
    module-config: "python subnetcache iterator"
    ignore-cd-flag: yes
python:
    python-script: "{script}"

# With DNSSEC validation, this instead, the scripts in this order:
#   module-config: "python subnetcache validator python iterator"
#   python-script: "{script}"
#   python-script: "{second}"

# Debian's Unbound finds its own Python interface with this (systemctl edit unbound), and the tables as a member of their group
# (usermod -aG sekisho unbound; it takes its groups from there, whatever the unit says):
#   [Service]
#   Environment=PYTHONPATH=/usr/lib/python3/dist-packages
# The user unbound reads the list key ({key}) and writes its counts in {tables}.
# The daemon's own key is for its user alone: copy it, and name the copy with --key. The folder is made for that, at each boot, by
# sekisho-plugin.tmpfiles.
#   install -o unbound -g unbound -m 0400 /var/lib/sekisho/list.key {into}/list.key
# Where AppArmor confines Unbound, in /etc/apparmor.d/local/usr.sbin.unbound (apparmor_parser -r /etc/apparmor.d/usr.sbin.unbound):
#   #include <abstractions/python>
{confined}
# What Unbound answers before its modules (local-zone, local-data) is answered before the checkpoint.
"""

_ENTRIES = {
    "dnsdist": 'dofile("{reader}").dnsdist{{tables = "{tables}", key = "{key}", closed = {closed}}}\n',
    "recursor": 'dofile("{reader}").recursor{{tables = "{tables}", key = "{key}", closed = {closed}}}\n',
    "knot": 'dofile("{reader}").knot{{tables = "{tables}", key = "{key}", closed = {closed}}}\n',
}
_LUA_CONF = {
    "dnsdist": """\
-- dnsdist.conf, before any other rule. Customers' answers stay apart: the checkpoint stands before the packet cache.
dofile("{entry}")
""",
    "recursor": """\
# recursor.conf; where there is a script already, call this one with dofile at its start.
lua-dns-script={entry}
""",
    "knot": """\
-- kresd.conf, before any other policy.
dofile("{entry}")
""",
}
