"""Verbs about the daemon itself: run, check, status, reload, completion."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

import click
from click.shell_completion import get_completion_class

from sekisho.cli.base import Verb, answer, chosen_config, client, fault_bodies, fault_lines, print_json, wants_json
from sekisho.cli.client import Json
from sekisho.cli.text import duration, moment, plain, table
from sekisho.model.errors import ConfigError
from sekisho.model.words import counted, number


@click.command(cls=Verb)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Default: $SEKISHO_LOG_LEVEL, then info.")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Default: text on a terminal, JSON otherwise.")
def run(log_level: str | None, log_format: str | None) -> None:
    """Run both processes in the foreground.

    The daemon decides and keeps the record, the plane answers; Ctrl-C ends both. One that dies or hangs is started again. No log has a
    name that was asked for, at any level. SIGHUP reads the configuration again; SIGUSR2 replaces both
    processes by what is installed now, without a lost query.

    \b
      sekisho --config sekisho.yaml run
      sekisho run --log-level debug

    Under systemd, start `sekishod` and `sekisho-plane` as services of their own instead. Exit codes are theirs:
    0 stopped, 78 faults in the configuration, 75 a start the machine did not allow, 70 crashed.
    """
    from sekisho.app import supervise  # noqa: PLC0415 - client verbs start fast

    given = (("--log-level", log_level), ("--log-format", log_format))
    sys.exit(supervise.run(chosen_config(), options=tuple(word for key, value in given if value for word in (key, value))))


@click.command(cls=Verb)
def check() -> None:
    """Check the configuration; print every fault at once.

    The daemon's own parser reads the files, so what passes here is what the daemon takes. What a start
    goes on with is a warning: a secret that is not there, a consent of a day to come. What this user may
    not look at is said to be unknown.

    \b
      sekisho --config sekisho.yaml check
      sekisho check --json | jq '.faults[].message'
    """
    from sekisho.drivers.site import load_site  # noqa: PLC0415 - client verbs start fast
    from sekisho.drivers.sitecheck import look_round  # noqa: PLC0415

    path = chosen_config()
    try:
        site = load_site(path)
        found = (*site.warnings, *look_round(site, path, time.time()))
    except ConfigError as error:
        faults = fault_bodies(error)
        if wants_json():
            print_json({"ok": False, "faults": faults, "warnings": []})
        else:
            for line in fault_lines(faults):
                print(line, file=sys.stderr)
            print(f"{path}: {len(faults)} fault{'' if len(faults) == 1 else 's'}", file=sys.stderr)
        sys.exit(1)
    warnings = [{"file": f.file, "line": f.line, "path": f.path, "message": f.message} for f in sorted(found)]
    packs = sorted(site.packs)
    body = {
        "ok": True,
        "faults": [],
        "warnings": warnings,
        "terms": packs,
        "lists": [one.id for one in site.lists],
        "customers": len(site.customers),
    }
    answer(body, lambda _: _checked(path, body, warnings))


def _checked(path: object, body: Json, warnings: list[Json]) -> Iterable[str]:
    for line in fault_lines(warnings):
        yield f"warning: {line}"
    yield (
        f"{plain(path)}: good: terms {plain(', '.join(body['terms'])) or 'none'}; "
        f"{counted(len(body['lists']), 'list', 'lists')}; {counted(body['customers'], 'customer', 'customers')}"
    )


@click.command(cls=Verb)
def status() -> None:
    """How the daemon, the plane and the lists do.

    \b
      sekisho status
      sekisho status --json | jq '.lists[] | select(.stale or .held)'
    """
    answer(client().get("/v1/status"), _status_lines)


def _status_lines(body: Json) -> Iterable[str]:
    daemon, plane, people = body["daemon"], body["plane"], body["customers"]
    yield f"daemon     running since {moment(daemon['started'])} ({duration(daemon['uptime'])}), version {plain(daemon['version'])}"
    yield f"           configuration {plain(daemon['config'])}, loaded {moment(daemon['loaded'])}"
    if plane["running"]:
        behind = "" if plane["epoch"] == daemon["epoch"] else f"; the daemon published epoch {daemon['epoch']}"
        yield (
            f"plane      running: {counted(plane['workers_alive'], 'worker', 'workers')}, epoch {plane['epoch']}{behind}, "
            f"{counted(plane['queries'], 'query', 'queries')}, {counted(plane['worker_restarts'], 'worker restart', 'worker restarts')}"
        )
    else:
        yield "plane      plane not running: no query is answered; start it with `sekisho run` or `systemctl start sekisho-plane`"
    yield (
        f"customers  {number(people['known'])} known, {number(people['opted_out'])} opted out of a list, "
        f"{number(people['unconsented'])} without a consent a clause needs"
    )
    since = body["ledger"].get("verified_from", 1)
    verified = "verified at start" if since == 1 else f"verified at start from {number(since)} on; `sekisho audit verify` verifies all"
    yield f"ledger     {counted(body['ledger']['acts'], 'act', 'acts')}, {verified}"
    if body.get("measures"):
        yield _measures(body["measures"])
    if (body.get("sessions") or {}).get("listening"):
        yield _sessions(body["sessions"])
    for one in body.get("sinks", ()):
        behind = f"{number(one['behind'])} behind" + (f" ({duration(one['behind_seconds'])})" if one["behind"] else "")
        told = f"{number(one['taken'])} told since the start"
        yield f"sink       {plain(one['id'])}: {plain(one['kind'])} to {plain(one['to'])}, {behind}, {told}"
        if one["error"]:
            yield f"           FAILING since {moment(one['failing_since'])}, told again until it is taken: {plain(one['error'])}"
    if body.get("dnstap"):
        yield from _dnstap(body["dnstap"])
    if body["matches"]["lost"]:
        yield f"matches    {number(body['matches']['lost'])} lost, because the plane's ring was full"
    if daemon["reload"]["failed"]:
        yield f"reload     REFUSED {moment(daemon['reload']['at'])}: the configuration has faults; what was in force stays in force"
        yield from (f"           {line}" for line in fault_lines(daemon["reload"]["faults"]))
    for warning in body["warnings"]:
        yield f"warning    {plain(warning)}"
    yield ""
    yield from list_table(body["lists"])


def _measures(body: Json) -> str:
    states = ", ".join(f"{number(count)} {plain(state)}" for state, count in body["open"].items()) or "none open"
    mode = "observed only" if body["mode"] == "observe" else "enforced"
    reached = counted(body["enforced"], "customer", "customers")
    return f"measures   {states}; {mode} unless a clause says otherwise; something is done to {reached}"


def _sessions(body: Json) -> str:
    written = f"{number(body['waiting'])} facts wait to be written" if body["waiting"] else "all that was told is written"
    return f"sessions   {number(body['live'])} live, {number(body['unknown'])} of unknown users; {written}"


def _dnstap(body: Json) -> Iterable[str]:
    frames, ended = body["frames"], body["ended"]
    told = f"{number(frames['counted'])} queries of customers, {number(frames['nobody'])} messages of nobody's addresses"
    yield f"dnstap     {plain(body['socket'])}: {counted(body['resolvers'], 'resolver', 'resolvers')}, {told}"
    lost = [f"{number(frames[word])} frames {word}" for word in ("addressless", "damaged") if frames[word]]
    lost += [f"{number(ended[word])} connections {word}" for word in ended if word not in {"stopped", "closed"} and ended[word]]
    if lost:
        yield f"           LOST: {', '.join(lost)}"


def list_table(lists: list[Json]) -> Iterable[str]:
    """The lists, one a line, and below them the sentences of those that need someone."""
    rows = [
        (
            one["id"],
            one["category"] + (" (sealed)" if one["sealed"] else ""),
            number(one["entries"]),
            duration(one["age"]) if one["age"] is not None else "never",
            number(one["skipped"]),
            number(one["unkept"]),
            number(one["matches"]),
            state_of(one),
        )
        for one in lists
    ]
    yield from table(("LIST", "CATEGORY", "ENTRIES", "AGE", "SKIPPED", "NOT KEPT", "MATCHES", "STATE"), rows, right=(2, 4, 5, 6))
    for one in lists:
        if one["error"]:
            yield f"{plain(one['id'])}: {plain(one['error'])}"
        if one["held"]:
            yield (
                f"{plain(one['id'])}: a version with {counted(one['held']['entries'], 'entry', 'entries')} is held, it lost "
                f"{one['held']['lost']:.0%}; look at its source, then `sekisho lists accept {plain(one['id'])}`"
            )


def state_of(one: Json) -> str:
    words = [word for word in ("held", "stale") if one[word]]
    if one["error"]:
        words.insert(0, "failed, last good in force" if one["entries"] or one["fetched"] else "failed, nothing in force")
    elif not one["fetched"]:
        words.insert(0, "not fetched yet")
    return ", ".join(words) or "good"


@click.command(cls=Verb)
def reload() -> None:
    """Read the configuration again. With faults, what was in force stays in force.

    \b
      sekisho check && sekisho reload

    The same as SIGHUP to sekishod, with an answer. Addresses, folders, `upstream`, `workers`, `busy_poll` and `cache` change
    at a restart only.
    """
    answer(client().post("/v1/reload"), _reloaded)


def _reloaded(body: Json) -> Iterable[str]:
    lists, people = counted(len(body["lists"]), "list", "lists"), counted(body["customers"], "customer", "customers")
    yield f"reloaded: {lists}, {people}, epoch {body['epoch']}"
    for key in body["restart"]:
        yield f"`{plain(key)}` changed and takes effect at the next start"
    for warning in body["warnings"]:
        yield f"warning: {plain(warning)}"


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
      sekisho completion bash > /etc/bash_completion.d/sekisho
      sekisho completion zsh  > "${fpath[1]}/_sekisho"
      sekisho completion fish > ~/.config/fish/completions/sekisho.fish
    """
    root = click.get_current_context().find_root()
    cls = get_completion_class(shell)
    if cls is None:
        raise click.UsageError(f"there is no completion for {shell}")
    source = cls(root.command, {}, "sekisho", "_SEKISHO_COMPLETE").source()
    if wants_json():
        print_json({"shell": shell, "script": source})
    else:
        print(source)
