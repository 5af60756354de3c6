"""Configuration of resolvers that ask these zones, as text to include: BIND, Unbound, PowerDNS Recursor, Knot Resolver.

What the tests of real resolvers use. Each says no more than the zones need; forwarding, access control and the rest are
the operator's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sekisho.rpz.knot import resolver_lua, transfers
from sekisho.rpz.told import Told, View, ZoneTold, zone_file

PARTS = {
    "bind": ("policy", "zones"),
    "unbound": ("zones",),
    "recursor": ("conf", "zones", "script"),
    "knot": ("transfer", "zones"),
}
"""The pieces of each resolver's configuration, which stand in different places."""
BIND_ZONES = 64
"""Policy zones BIND takes in a view; with one more it refuses its whole configuration."""


def snippet(resolver: str, told: Told, part: str = "") -> str:
    """The configuration of a resolver: one of PARTS, or all of them under headings. Raises KeyError for a resolver nobody knows."""
    makers = _MAKERS[resolver]
    if part:
        return makers[part](told)
    if len(makers) == 1:
        return "".join(make(told) for make in makers.values())
    return "\n".join(f"{_COMMENT[resolver]} {_WHERE[resolver, name]}\n{make(told)}" for name, make in makers.items())


# BIND


def _bind_policy(told: Told) -> str:
    if len(told.views) > 1:
        return "".join(_bind_view(told, view) for view in told.views)
    return _bind_response_policy(told.views[0])


def _bind_response_policy(view: View, indent: str = "") -> str:
    zones = "".join(f'{indent}    zone "{zone.name}" log no;\n' for zone in view.zones)
    # Without 0 a change waits for up to a minute, and without a day TTLs above 5 s become 5 s; names are decided before the
    # cache is asked.
    return (
        f"{indent}response-policy {{\n{zones}{indent}}} max-policy-ttl 86400 min-update-interval 0 qname-wait-recurse no break-dnssec yes"
        " nsip-enable no nsdname-enable no;\n"
    )


def _bind_view(told: Told, view: View) -> str:
    clients = "any;" if not view.id else " ".join(f"{network};" for network in view.networks) or "none;"
    zones = "".join(_bind_zone(told, view, zone, "    ") for zone in view.zones)
    return (
        f'view "sekisho-{view.id or "default"}" {{\n    match-clients {{ {clients} }};\n{_bind_response_policy(view, "    ")}{zones}}};\n'
    )


def _bind_zones(told: Told) -> str:
    key = f'include "{told.key_file}";\n' if told.key is not None else ""
    if len(told.views) > 1:
        return key
    return key + "".join(_bind_zone(told, told.views[0], zone) for zone in told.views[0].zones)


def _bind_zone(told: Told, view: View, zone: ZoneTold, indent: str = "") -> str:
    key = f' key "{told.key[0]}"' if told.key is not None else ""
    # A NOTIFY comes to one view alone: the others look every second.
    often = " max-refresh-time 1; min-refresh-time 1;" if len(told.views) > 1 else ""
    primaries = "".join(f" {one.host} port {one.port}{key};" for one in told.primaries)
    return (
        f'{indent}zone "{zone.name}" {{\n'
        f'{indent}    type secondary; file "{zone_file(told, zone.name, view.id)}"; masterfile-format raw;{often}\n'
        f"{indent}    primaries {{{primaries} }};\n"
        f"{indent}    allow-query {{ none; }}; allow-transfer {{ none; }}; notify no;\n"
        f"{indent}}};\n"
    )


# Unbound

_UNBOUND_GETS_NOT = """\
# These zones come without the addresses of lists (rpz-ip): Unbound stops by them, from its cache, customers who opted out too.
# The plugin (`sekisho plugin config unbound`) has them; so does this with `addresses: true` of the secondary."""
_UNBOUND_GETS = """\
# If lists hold addresses (rpz-ip), these zones stop by them, from Unbound's cache, customers who opted out too: the plugin does not
# (`sekisho plugin config unbound`). With `resolver: unbound`, and not `addresses: true`, of the secondary they come without."""


def _unbound(told: Told) -> str:
    lines = [_UNBOUND_GETS if told.addresses else _UNBOUND_GETS_NOT, "server:", '    module-config: "respip validator iterator"']
    tagged = len(told.views) > 1
    if tagged:
        lines.append(f'    define-tag: "{" ".join(_tag(view) for view in told.views)}"')
        for view in told.views:
            lines += [f'    access-control-tag: {network} "{_tag(view)}"' for network in view.networks]
    for name, views in _one_order(told.views):
        lines += ["rpz:", f'    name: "{name}"', *(f"    primary: {one.host}@{one.port}" for one in told.primaries)]
        lines += [f"    allow-notify: {host}" for host in told.hosts]
        lines.append(f'    zonefile: "{zone_file(told, name)}"')
        # A zone all have needs no tag, and asks those too who are in no network that is tagged.
        if len(views) < len(told.views):
            lines.append(f'    tags: "{" ".join(_tag(view) for view in views)}"')
    return "\n".join(lines) + "\n"


def _one_order(views: Sequence[View]) -> list[tuple[str, list[View]]]:
    """Zones in one order for all classes, and whose each is. Where the order of a class is another than everybody's, everybody's stands."""
    names = [zone.name for zone in views[-1].zones]
    for view in views[:-1]:
        own = [zone.name for zone in view.zones]
        for place in reversed(range(len(own))):
            if own[place] not in names:
                # Directly before what follows it: those let through, before the list.
                names.insert(names.index(own[place + 1]) if place + 1 < len(own) else len(names), own[place])
    return [(name, [view for view in views if name in {zone.name for zone in view.zones}]) for name in names]


def _tag(view: View) -> str:
    return f"sekisho-{view.id or 'default'}"


# PowerDNS Recursor

_SCRIPT = """
}
for _, class in ipairs(classes) do
    class.clients = newNMG()
    for _, network in ipairs(class.networks) do class.clients:addMask(network) end
end

-- A client is asked of by the zones of its class alone; the last class is that of everybody else.
function prerpz(dq)
    local own = #classes
    for number = 1, #classes - 1 do
        if classes[number].clients:match(dq.remoteaddr) then own = number break end
    end
    for number, class in ipairs(classes) do
        if number ~= own then
            for _, policy in ipairs(class.policies) do dq:discardPolicy(policy) end
        end
    end
    return false
end
"""


def _recursor_conf(told: Told) -> str:  # noqa: ARG001 - as all of them
    # The packet cache gives one client what was decided for another.
    return "disable-packetcache=yes\n"


def _recursor_lua(told: Told) -> str:
    lines = []
    sign = ""
    if told.key is not None:
        lines += [f'local file = assert(io.open("{told.key_file}"))', 'local secret = file:read("*l")', "file:close()"]
        sign = f', tsigname="{told.key[0]}", tsigalgo="{told.key[1]}", tsigsecret=secret'
    for view in told.views:
        for zone in view.zones:
            path = zone_file(told, zone.name, view.id)
            dump = f', seedFile="{path}", dumpFile="{path}"' if told.folder else ""
            name = _policy(told, view, zone)
            lines.append(f'rpzPrimary({_endpoints(told)}, "{zone.name}", {{policyName="{name}", refresh=1{sign}{dump}}})')
    return "\n".join(lines) + "\n"


def _policy(told: Told, view: View, zone: ZoneTold) -> str:
    """The zones stand once for each class, in the order of the class."""
    return zone.name if len(told.views) == 1 else f"{_tag(view)}:{zone.name}"


def _recursor_script(told: Told) -> str:
    if len(told.views) == 1:
        return "-- Nothing: there are no entitlement classes.\n"
    lines = ["local classes = {"]
    for view in told.views:
        networks = ", ".join(f'"{network}"' for network in view.networks)
        policies = ", ".join(f'"{_policy(told, view, zone)}"' for zone in view.zones)
        lines.append(f"    {{ networks = {{{networks}}}, policies = {{{policies}}} }},")
    return "\n".join(lines) + _SCRIPT


def _endpoints(told: Told) -> str:
    quoted = [f'"{one}"' for one in told.primaries]
    return quoted[0] if len(quoted) == 1 else f"{{{', '.join(quoted)}}}"


_MAKERS: Mapping[str, Mapping[str, Callable[[Told], str]]] = {
    "bind": {"policy": _bind_policy, "zones": _bind_zones},
    "unbound": {"zones": _unbound},
    "recursor": {"conf": _recursor_conf, "zones": _recursor_lua, "script": _recursor_script},
    "knot": {"transfer": transfers, "zones": resolver_lua},
}
_COMMENT = {"bind": "//", "recursor": "--", "knot": "#"}
_WHERE = {
    ("bind", "policy"): "Within options { }; or, where there are entitlement classes, in their place: views",
    ("bind", "zones"): "Outside of options { }",
    ("recursor", "conf"): "recursor.conf",
    ("recursor", "zones"): "The file that lua-config-file names",
    ("recursor", "script"): "The file that lua-dns-script names, where there are entitlement classes",
    ("knot", "transfer"): "knot.conf, of Knot DNS beside the resolver: it transfers the zones",
    ("knot", "zones"): "kresd.conf, of Knot Resolver: it reads the files",
}
