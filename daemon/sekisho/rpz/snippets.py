"""Configuration of resolvers that ask these zones, as text to include: BIND, Unbound, PowerDNS Recursor, Knot Resolver.

What the tests of real resolvers use. Each says no more than the zones need; forwarding, access control and the rest are
the operator's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

PARTS = {
    "bind": ("policy", "zones"),
    "unbound": ("zones",),
    "recursor": ("conf", "zones"),
    "knot": ("zones",),
}
"""The pieces of each resolver's configuration, which stand in different places."""


@dataclass(frozen=True, slots=True)
class ZoneTold:
    name: str
    clients: bool
    """Triggers on clients; otherwise names."""
    action: str = ""
    """Of triggers on clients: `drop`, `garden` or `pass`."""


@dataclass(frozen=True, slots=True)
class View:
    """The zones of an entitlement class in their order. `id` empty: of everybody else."""

    id: str
    zones: tuple[ZoneTold, ...]
    networks: tuple[str, ...] = ()
    """Prefixes of the class's customers."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a resolver is told. `key` (name, algorithm) None: it cannot sign."""

    host: str
    port: int
    views: tuple[View, ...]
    key: tuple[str, str] | None
    key_file: str
    folder: str
    """Where the resolver keeps zones, or finds them."""


def snippet(resolver: str, told: Told, part: str = "") -> str:
    """The configuration of a resolver: one of PARTS, or all of them under headings. Raises KeyError for a resolver nobody knows."""
    makers = _MAKERS[resolver]
    if part:
        return makers[part](told)
    if len(makers) == 1:
        return "".join(make(told) for make in makers.values())
    return "\n".join(f"{_COMMENT[resolver]} {_WHERE[resolver, name]}\n{make(told)}" for name, make in makers.items())


def _file(told: Told, view: View, zone: ZoneTold) -> str:
    return "/".join(part for part in (told.folder.rstrip("/"), view.id, f"{zone.name}.rpz") if part)


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
    # A NOTIFY comes to one view alone: the others look every other second.
    often = " max-refresh-time 2; min-refresh-time 1;" if len(told.views) > 1 else ""
    return (
        f'{indent}zone "{zone.name}" {{\n'
        f'{indent}    type secondary; file "{_file(told, view, zone)}"; masterfile-format raw;{often}\n'
        f"{indent}    primaries {{ {told.host} port {told.port}{key}; }};\n"
        f"{indent}    allow-query {{ none; }}; allow-transfer {{ none; }}; notify no;\n"
        f"{indent}}};\n"
    )


# Unbound


def _unbound(told: Told) -> str:
    tagged = len(told.views) > 1
    lines = ["server:", '    module-config: "respip validator iterator"']
    if tagged:
        lines.append(f'    define-tag: "{" ".join(_tag(view) for view in told.views)}"')
        for view in told.views:
            lines += [f'    access-control-tag: {network} "{_tag(view)}"' for network in view.networks]
    for view in told.views:
        for zone in view.zones:
            lines += ["rpz:", f'    name: "{zone.name}"', f"    primary: {told.host}@{told.port}", f"    allow-notify: {told.host}"]
            lines.append(f'    zonefile: "{_file(told, view, zone)}"')
            if tagged:
                lines.append(f'    tags: "{_tag(view)}"')
    return "\n".join(lines) + "\n"


def _tag(view: View) -> str:
    return f"sekisho-{view.id or 'default'}"


# PowerDNS Recursor


def _recursor_conf(told: Told) -> str:  # noqa: ARG001 - as all of them
    # The packet cache gives one client what was decided for another.
    return "disable-packetcache=yes\n"


def _recursor_lua(told: Told) -> str:
    lines = []
    sign = ""
    if told.key is not None:
        lines += [f'local file = assert(io.open("{told.key_file}"))', 'local secret = file:read("*l")', "file:close()"]
        sign = f', tsigname="{told.key[0]}", tsigalgo="{told.key[1]}", tsigsecret=secret'
    for zone in told.views[-1].zones:
        dump = f', seedFile="{_file(told, told.views[-1], zone)}", dumpFile="{_file(told, told.views[-1], zone)}"' if told.folder else ""
        lines.append(f'rpzPrimary("{_endpoint(told)}", "{zone.name}", {{policyName="{zone.name}", refresh=1{sign}{dump}}})')
    return "\n".join(lines) + "\n"


def _endpoint(told: Told) -> str:
    return f"[{told.host}]:{told.port}" if ":" in told.host else f"{told.host}:{told.port}"


# Knot Resolver

_KNOT = """\
-- Knot Resolver reads policy zones from files and knows no trigger on clients: `sekisho rpz export` keeps the files, and
-- this asks them in the order of the zones. What changed is read within a second.
modules = { 'policy' }
local ffi, bit = require('ffi'), require('bit')
local folder = '%(folder)s'
local steps = {
%(steps)s}

local function masked(octets, length)
    local whole, rest = math.floor(length / 8), length %% 8
    local kept = octets:sub(1, whole)
    if rest > 0 then
        kept = kept .. string.char(bit.band(octets:byte(whole + 1), bit.lshift(0xff, 8 - rest) %% 256))
    end
    return kept
end

-- 24.0.2.0.192.rpz-client-ip and 48.zz.db8.2001.rpz-client-ip to octets and a length.
local function client_of(owner)
    local length, rest = owner:match('^(%%d+)%%.(.+)%%.rpz%%-client%%-ip$')
    if length == nil then return nil end
    local words = {}
    for word in rest:gmatch('[^.]+') do table.insert(words, 1, word) end
    local octets = ''
    if #words == 4 and not rest:find('zz') then
        for _, word in ipairs(words) do octets = octets .. string.char(tonumber(word)) end
        return octets, tonumber(length)
    end
    for _, word in ipairs(words) do
        if word == 'zz' then
            octets = octets .. string.rep('\\0', 2 * (9 - #words))
        else
            local value = tonumber(word, 16)
            octets = octets .. string.char(math.floor(value / 256), value %% 256)
        end
    end
    return octets, tonumber(length)
end

-- Prefixes by family, length and octets: one look for each length there is.
local function read_clients(path)
    local found = { [4] = {}, [16] = {} }
    for line in io.lines(path) do
        local octets, length = client_of(line:match('^(%%S+)') or '')
        if octets ~= nil then
            local lengths = found[#octets]
            lengths[length] = lengths[length] or {}
            lengths[length][masked(octets, length)] = true
        end
    end
    return found
end

local function holds(clients, octets)
    for length, prefixes in pairs(clients[#octets] or {}) do
        if prefixes[masked(octets, length)] then return true end
    end
    return false
end

local known = {}
local function refresh()
    local file = io.open(folder .. '/serials')
    if file == nil then return end
    for line in file:lines() do
        local zone, serial = line:match('^(%%S+) (%%d+)$')
        for _, step in ipairs(steps) do
            if step.zone == zone and known[zone] ~= serial then
                local path = folder .. '/' .. zone .. '.rpz'
                step.held = step.action and read_clients(path) or policy.rpz(policy.DENY, path, false)
            end
        end
        known[zone] = serial
    end
    file:close()
end
refresh()
event.recurrent(1 * sec, refresh)

policy.add(function (request, query)
    local address = request.qsource.addr
    if address == nil then return nil end
    local octets = ffi.string(address:ip(), address:len())
    for _, step in ipairs(steps) do
        if step.held ~= nil and step.action ~= nil then
            if holds(step.held, octets) then
                -- Not policy.DROP, which answers SERVFAIL.
                if step.action == 'drop' then return policy.NO_ANSWER end
                if step.action == 'garden' then return policy.DENY end
                return nil
            end
        elseif step.held ~= nil then
            local found = step.held(request, query)
            if found ~= nil then return found end
        end
    end
    return nil
end)
"""


def _knot(told: Told) -> str:
    steps = ""
    for zone in told.views[-1].zones:
        action = f", action = '{zone.action}'" if zone.clients else ""
        steps += f"    {{ zone = '{zone.name}'{action} }},\n"
    return _KNOT % {"folder": told.folder, "steps": steps}


_MAKERS: Mapping[str, Mapping[str, Callable[[Told], str]]] = {
    "bind": {"policy": _bind_policy, "zones": _bind_zones},
    "unbound": {"zones": _unbound},
    "recursor": {"conf": _recursor_conf, "zones": _recursor_lua},
    "knot": {"zones": _knot},
}
_COMMENT = {"bind": "//", "recursor": "#"}
_WHERE = {
    ("bind", "policy"): "Within options { }; or, where there are entitlement classes, in their place: views",
    ("bind", "zones"): "Outside of options { }",
    ("recursor", "conf"): "recursor.conf",
    ("recursor", "zones"): "The file that lua-config-file names",
}
