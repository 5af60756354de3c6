"""Verbs about policy zones: show, config, export."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import moment, plain, table
from sekisho.model.words import counted, number


@click.group(cls=Verbs)
def rpz() -> None:
    """Policy zones (RPZ) for resolvers that are asked without this checkpoint."""


@rpz.command("show", cls=Verb)
def rpz_show() -> None:
    """The zones in the order resolvers ask them, their serials, who transferred what, and what is not published.

    \b
      sekisho rpz show
    """
    answer(client().get("/v1/rpz"), _shown)


@rpz.command("config", cls=Verb)
@click.argument("resolver", type=click.Choice(["bind", "unbound", "recursor", "knot"]))
@click.option("--part", metavar="NAME", help="One piece: policy, zones (bind); conf, zones, script (recursor); transfer, zones (knot).")
@click.option("--secondary", metavar="ID", help="Whose configuration it is, with its key; default: the first that is such a resolver.")
@click.option("--primary", metavar="ADDRESS[:PORT]", help="Where the resolver reaches us; default: the addresses of `listen` it can reach.")
@click.option(
    "--key-file", metavar="PATH", help="File on the machine of the resolver: its `key` clause (bind, knot) or the secret (recursor)."
)
@click.option("--folder", metavar="PATH", help="Where the resolver keeps the zones, or finds them (knot).")
@click.option("--clients", metavar="NETWORK,...", help="Whom it serves, as its access-control has it (unbound, where there are classes).")
def rpz_config(resolver: str, **options: str | None) -> None:
    """The configuration of RESOLVER (bind, unbound, recursor, knot) to include in its own.

    One of `policy_zones.secondaries` has to be such a resolver (`resolver: bind`), or is named by --secondary.

    \b
      sekisho rpz config bind --part policy > /etc/bind/sekisho-policy.conf
      sekisho rpz config unbound > /etc/unbound/unbound.conf.d/sekisho.conf
      sekisho rpz config recursor --key-file /etc/powerdns/sekisho.secret
      sekisho rpz config knot --part transfer --folder /var/lib/knot-sekisho
      sekisho rpz config knot --part zones --folder /var/lib/knot-sekisho
    """
    body = client().get("/v1/rpz/config", resolver=resolver, **options)
    answer(body, lambda it: it["text"].splitlines())


@rpz.command("export", cls=Verb)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--zone", metavar="NAME", help="This zone alone.")
@click.option(
    "--no-addresses", is_flag=True, help="Without the addresses of lists (rpz-ip): for Unbound, which stops by them who opted out."
)
def rpz_export(folder: Path, zone: str | None, *, no_addresses: bool) -> None:
    """Write the zones as files into DIR, those that changed since: for what reads files.

    The daemon writes them, so DIR must be where the daemon may write. Knot Resolver has them by transfer too
    (`sekisho rpz config knot`); from here it has what was written last.

    \b
      sekisho rpz export /var/lib/sekisho/rpz
    """
    body = client().post("/v1/rpz/export", folder=str(folder.absolute()), zone=zone, without_addresses=no_addresses)
    answer(body, lambda it: [f"{len(it['written'])} of {counted(it['zones'], 'zone', 'zones')} written to {plain(it['folder'])}"])


def _shown(body: Json) -> Iterable[str]:
    connections = counted(body["connections"], "connection", "connections")
    yield f"zones below   {plain(body['zone'])}, served at {', '.join(body['listen'])}; {connections} now"
    if body["fault"]:
        yield f"fault         {plain(body['fault'])}"
    serials = {one["zone"]: one for one in body["zones"]}
    for one in body["classes"]:
        yield ""
        terms = f": {', '.join(one['terms'])}" if one["terms"] else ""
        rows = [(name, *_zone(serials.get(name))) for name in one["zones"]]
        yield f"class {plain(one['id'])}{plain(terms)}, in this order"
        yield from table(("ZONE", "SERIAL", "RECORDS", "JOURNAL"), rows)
    if body["secondaries"]:
        yield ""
        found = [_secondary(one) for one in body["secondaries"]]
        yield from table(("SECONDARY", "ADDRESS", "KEY", "NOTIFY", "SEEN", "ZONES BEHIND"), found)
    if body["transfers"]:
        yield ""
        yield from table(("ZONE", "TRANSFER", "COUNT"), [(one["zone"], one["kind"], number(one["count"])) for one in body["transfers"]])
    for why, count in sorted(body["refused"].items()):
        yield f"refused       {counted(count, 'question', 'questions')} ({plain(why)})"
    for one in body["withheld"]:
        yield f"withheld      {plain(one['reason'])}"
    for one in body["addresses"]:
        yield f"addresses     {plain(one['reason'])}"
    for one in body["late"]:
        yield f"late          {plain(one['reason'])}"
    for one in body["missed"]:
        yield (
            f"not reached   {counted(one['customers'], 'customer', 'customers')} whom {plain(one['list'])} reaches and these zones"
            " cannot bring it to: a class of their terms (`policy_zones.classes`) does"
        )


def _zone(one: Json | None) -> tuple[str, str, str]:
    return (str(one["serial"]), number(one["records"]), number(one["journal"])) if one else ("-", "-", "-")


def _secondary(one: Json) -> tuple[str, ...]:
    key = plain(one["key"] or "unsigned")
    return plain(one["id"]), one["address"], key, one["notify"] or "-", moment(one["seen"]), str(one["behind"])
