"""What of `sekisho.yaml` concerns packets: where queries come in and go to, and the memory and threads for them.

Owns the keys the data plane reads, and all that the plane imports of the configuration: it is no judge of the rest
of the file, has no business with people, and is to be up again within a second. The whole file is `settings`'.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from sekisho.config.document import scan_document
from sekisho.config.validation import FileModel, shown, validate
from sekisho.config.values import DnsEndpoint, Endpoint, FilePath, Flag, Seconds, SomeSeconds, Version, Whole, as_items, one_or_many

ELSEWHERE = frozenset({
    "terms", "lists", "customers", "metrics", "allow", "never_block", "walled_garden", "retention", "ledger_retention", "detection",
    "flows", "bandwidth", "duplicates", "roles", "measures", "groups", "events", "lines", "dnstap", "notices", "radius",
    "policy_zones", "coa",
})  # fmt: skip
"""The other keys of the main file. Stated, so that one that is mistyped is a fault here too: nobody is to listen at a default for it."""

ENDPOINTS = one_or_many({"type": "string", "examples": ["127.0.0.1:53", "[::1]:53"]})


class Upstream(FileModel):
    """The resolvers queries are forwarded to."""

    addresses: Annotated[tuple[DnsEndpoint, ...], BeforeValidator(as_items), Field(alias="address", min_length=1, max_length=16), ENDPOINTS]
    """Resolvers in the order they are tried; port 53 where none is given."""
    proxy_protocol: Flag = False
    """Prefix each query with a PROXY v2 header that carries the client's address."""
    timeout: SomeSeconds = 2.0
    """Time one resolver has to answer before the next is tried."""


class Cache(FileModel):
    """The packet cache."""

    mib: Annotated[Whole, Field(ge=0, le=65536)] = 64
    """Memory of the cache in MiB; 0 switches it off."""
    max_stale: Seconds = 86400.0
    """How long past its TTL an answer may be served while the resolvers fail (RFC 8767); 0 never."""
    shared: Flag | None = None
    """One cache for every customer (true), none of one customer's answers for another (false), or null: shared,
    unless proxy_protocol lets the resolver answer by client address."""


def _as_workers(value: object) -> int:
    if value == "auto":
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected a number of threads, or auto for one a core; found {shown(value)}")
    return value


class PacketSettings(FileModel):
    """The part of the main file the plane needs; what else stands there is the control plane's. Relative paths start at its own folder."""

    version: Version
    listen: Annotated[tuple[DnsEndpoint, ...], BeforeValidator(as_items), Field(min_length=1, max_length=64), ENDPOINTS] = (
        Endpoint("127.0.0.1", 53),
        Endpoint("::1", 53),
    )
    """Where queries come in, over UDP and TCP."""
    upstream: Upstream
    """Where queries go that nothing holds."""
    state: FilePath = Path("/var/lib/sekisho")
    """Folder of what must survive a restart: ledger, matches, compiled lists, list key."""
    runtime: FilePath = Path("/run/sekisho")
    """Folder of the shared tables and the API socket."""
    workers: Annotated[
        int,
        BeforeValidator(_as_workers),
        Field(ge=0, le=128),
        WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 0, "maximum": 128}]}),
    ] = 0
    """Threads that answer; auto (0): one a core."""
    busy_poll: Annotated[Seconds, Field(le=0.01)] = 0.0
    """How long a worker goes on looking for queries before it sleeps, such as 50us: answers come sooner, for time of a core."""
    cache: Cache = Cache()
    """The packet cache."""

    @model_validator(mode="after")
    def _no_loop(self) -> PacketSettings:
        looped = [str(one) for one in self.upstream.addresses if one in self.listen and one.port]
        if looped:
            raise ValueError(
                f"upstream {', '.join(looped)} is in `listen` too: queries would come back for ever; give the resolver's own address"
            )
        return self


def parse_packet_settings(text: str, file: str) -> PacketSettings:
    """From the main file's text, whatever its other keys hold. Raises ConfigError with every fault of these keys and of the YAML."""
    document = scan_document(text, file)
    if isinstance(document.value, dict):
        document = dataclasses.replace(document, value={key: value for key, value in document.value.items() if key not in ELSEWHERE})
    return validate(PacketSettings, document, {"folder": Path(file).parent})
