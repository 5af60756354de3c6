"""Configuration for Knot Resolver, which transfers no zone: Knot DNS beside it does, and writes the files it reads.

Knot DNS is a secondary like any other: it takes NOTIFY, transfers by IXFR, signs, and writes a file in the place of the one
before. What Knot Resolver's own `policy.rpz` cannot do - triggers on clients, silence, data that changes with the
client - is the Lua's that is generated.
"""

from __future__ import annotations

from collections.abc import Sequence

from sekisho.model.customers import Prefix
from sekisho.rpz.records import client_ip, split
from sekisho.rpz.told import Told, View

_TRANSFERS = """\
%(include)sremote:
  - id: sekisho
    address: %(primaries)s
%(key)sacl:
  - id: sekisho-notify
    address: %(hosts)s
%(key)s    action: notify
# The zones are for the resolver's files, and nobody asks them here.
mod-queryacl:
  - id: sekisho
    address: 127.0.0.1
template:
  - id: sekisho
    storage: "%(folder)s"
    file: "%%s.rpz"
    zonefile-sync: 0
    semantic-checks: off
    master: sekisho
    acl: sekisho-notify
    module: mod-queryacl/sekisho
zone:
"""

_RESOLVER = """\
-- Knot Resolver transfers no zone: Knot DNS beside it writes the files (or `sekisho rpz export` does), and this asks them in
-- the order of the zones, triggers on clients included. What changed is read within half a second; a zone whose file is
-- not there yet decides nothing.
modules = { 'policy' }
local ffi, bit = require('ffi'), require('bit')
local folder = '%(folder)s'
local zones = {
%(zones)s}
local classes = {
%(classes)s}

local function masked(octets, length)
    local whole, rest = math.floor(length / 8), length %% 8
    local kept = octets:sub(1, whole)
    if rest > 0 then
        kept = kept .. string.char(bit.band(octets:byte(whole + 1), bit.lshift(0xff, 8 - rest) %% 256))
    end
    return kept
end

-- 24.0.2.0.192.rpz-client-ip and 48.zz.db8.2001.rpz-client-ip, with or without the zone behind, to octets and a length.
local function client_of(owner)
    local length, rest = owner:match('^(%%d+)%%.(.+)%%.rpz%%-client%%-ip%%f[.%%z]')
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
local function add(clients, owner)
    local octets, length = client_of(owner)
    if octets ~= nil then
        local lengths = clients[#octets]
        lengths[length] = lengths[length] or {}
        lengths[length][masked(octets, length)] = true
    end
    return octets ~= nil
end

local function holds(clients, octets)
    for length, prefixes in pairs(clients[#octets] or {}) do
        if prefixes[masked(octets, length)] then return true end
    end
    return false
end

-- A zone of clients: who, and the addresses they are led to, which are the same for all.
local function read_clients(path)
    local found, data, first = { [4] = {}, [16] = {} }, {}, nil
    for line in io.lines(path) do
        local owner, ttl, kind, value = line:match('^(%%S+)%%s+(%%d+)%%s+(%%S+)%%s+(%%S+)')
        if owner ~= nil and add(found, owner) then
            first = first or owner
            if first == owner and (kind == 'A' or kind == 'AAAA') then
                local set = data[kres.type[kind]] or { ttl = tonumber(ttl), rdata = {} }
                table.insert(set.rdata, kres.str2ip(value))
                data[kres.type[kind]] = set
            end
        end
    end
    return found, policy.ANSWER(data, true)
end

-- Serial and minimum of the zone's SOA, which comes first.
local function apex_of(path)
    local file = io.open(path)
    if file == nil then return nil end
    local head = file:read(2048) or ''
    file:close()
    return head:match('%%sSOA%%s+%%S+%%s+%%S+%%s+(%%d+)%%s+%%d+%%s+%%d+%%s+%%d+%%s+(%%d+)')
end

-- Not policy.DENY, whose answers machines may keep for three hours.
local function nxdomain(seconds)
    local last = string.char(math.floor(seconds / 16777216) %% 256, math.floor(seconds / 65536) %% 256,
        math.floor(seconds / 256) %% 256, seconds %% 256)
    return function (_, request)
        local answer = request:ensure_answer()
        if answer == nil then return nil end
        local name = request:current().sname
        ffi.C.kr_pkt_make_auth_header(answer)
        answer:rcode(kres.rcode.NXDOMAIN)
        answer:begin(kres.section.AUTHORITY)
        answer:put(name, seconds, answer:qclass(), kres.type.SOA,
            kres.dname2wire(name) .. '\6nobody\7invalid\0' .. string.rep('\0', 16) .. last)
        request:set_extended_error(kres.extended_error.BLOCKED, '')
        return kres.DONE
    end
end

local function read(zone, path, seconds)
    if zone.action ~= nil then
        zone.held, zone.led = read_clients(path)
    else
        zone.held = policy.rpz(nxdomain(seconds), path, false)
    end
end

local function refresh()
    for name, zone in pairs(zones) do
        local path = folder .. '/' .. name .. '.rpz'
        local serial, minimum = apex_of(path)
        if serial ~= nil and serial ~= zone.serial then
            local good, message = pcall(read, zone, path, tonumber(minimum))
            if not good then log_warn(ffi.C.LOG_GRP_POLICY, 'sekisho: %%s stays as it is: %%s', name, message) end
            zone.serial = serial
        end
    end
end
refresh()
event.recurrent(sec / 2, refresh)

for _, class in ipairs(classes) do
    class.clients = { [4] = {}, [16] = {} }
    for _, owner in ipairs(class.networks or {}) do add(class.clients, owner) end
end

local function class_of(octets)
    for _, class in ipairs(classes) do
        if class.networks == nil or holds(class.clients, octets) then return class end
    end
end

policy.add(function (request, query)
    local address = request.qsource.addr
    if address == nil then return nil end
    local octets = ffi.string(address:ip(), address:len())
    for _, name in ipairs(class_of(octets).order) do
        local zone = zones[name]
        if zone.held ~= nil and zone.action ~= nil then
            if holds(zone.held, octets) then
                if zone.action == 'drop' then return policy.NO_ANSWER end
                if zone.action == 'garden' then return zone.led end
                return nil
            end
        elseif zone.held ~= nil then
            local found = zone.held(request, query)
            -- policy.DROP is not silence: it answers SERVFAIL.
            if found == policy.DROP then return policy.NO_ANSWER end
            -- Who is let through goes on to the rules that follow, forwarding for example; policy.PASS would end them.
            if found == policy.PASS or (found == policy.TC and request.qsource.flags.tcp) then return nil end
            if found ~= nil then return found end
        end
    end
    return nil
end)
"""


def transfers(told: Told) -> str:
    """What Knot DNS is told: the zones of all classes, from the publisher into files."""
    text = _TRANSFERS % {
        "include": f'include: "{told.key_file}"\n' if told.key is not None else "",
        "primaries": _several([f"{one.host}@{one.port}" for one in told.primaries]),
        "hosts": _several(told.hosts),
        "key": f"    key: {told.key[0]}\n" if told.key is not None else "",
        "folder": told.folder,
    }
    names = dict.fromkeys(zone.name for view in told.views for zone in view.zones)
    return text + "".join(f"  - domain: {name}\n    template: sekisho\n" for name in names)


def _several(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"[ {', '.join(items)} ]"


def resolver_lua(told: Told) -> str:
    """What Knot Resolver is told: the zones' files in the order of each class."""
    zones = {zone.name: zone.action for view in told.views for zone in view.zones}
    lines = "".join(f"    ['{name}'] = {{{f' action = {action!r} ' if action else ''}}},\n" for name, action in zones.items())
    classes = "".join(_class(view) for view in told.views)
    return _RESOLVER % {"folder": told.folder, "zones": lines, "classes": classes}


def _class(view: View) -> str:
    """The order of a class; the one of everybody else, which comes last, names no networks."""
    order = ", ".join(f"'{zone.name}'" for zone in view.zones)
    networks = ", ".join(f"'{_owner(network)}'" for network in view.networks)
    return f"    {{ {f'networks = {{ {networks} }}, ' if view.id else ''}order = {{ {order} }} }},\n"


def _owner(network: str) -> str:
    return ".".join(label.decode() for label in split(client_ip(Prefix.parse(network)) + b"\0"))
