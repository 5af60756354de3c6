"""`sekisho`: the operator's command line."""

from __future__ import annotations

import sys

import click

from sekisho.cli.base import Verbs
from sekisho.cli.verbs_audit import audit
from sekisho.cli.verbs_backup import backup, restore
from sekisho.cli.verbs_customers import customers, optout
from sekisho.cli.verbs_daemon import check, completion, reload, run, status
from sekisho.cli.verbs_emergencies import announce, emergency, hold, outage, resume
from sekisho.cli.verbs_flows import flows
from sekisho.cli.verbs_groups import group
from sekisho.cli.verbs_lines import lines
from sekisho.cli.verbs_lists import lists
from sekisho.cli.verbs_measures import measures, suspend
from sekisho.cli.verbs_nas import nas
from sekisho.cli.verbs_notices import attention, notice_report, notices
from sekisho.cli.verbs_plugin import plugin
from sekisho.cli.verbs_replay import replay
from sekisho.cli.verbs_rpz import rpz
from sekisho.cli.verbs_sessions import sessions
from sekisho.cli.verbs_terms import terms
from sekisho.cli.verbs_usage import usage
from sekisho.cli.verbs_verdicts import events, explain


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sekisho", message="sekisho %(version)s")
def cli() -> None:
    """The checkpoint beside your resolver: it carries out what your terms of service say.

    \b
    Start and look:
      sekisho check                                  every fault of the configuration at once
      sekisho run                                    both processes, in the foreground
      sekisho status                                 how the daemon, the plane and the lists do
    \b
    What your terms authorise, and how packs compare:
      sekisho terms show nbnet/22-2-5
      sekisho terms matrix
    \b
    A customer who does not want a list:
      sekisho optout add c-1001 c2 --by "phone, ticket 4711"
      sekisho optout show c-1001
    \b
    Why was this name blocked, and for whom:
      sekisho explain --customer c-1001 --name www.example.com
      sekisho events --customer c-1001 --since 1h
    \b
    Why is a line slow, and what was it used for, in totals of days:
      sekisho explain --customer c-1001
      sekisho usage show c-1001

    \b
    Who is on line, and who held an address at a time:
      sekisho sessions show c-1001
      sekisho sessions at 192.0.2.7 2026-04-01T03:14:07 --port 40123
    \b
    What measures are open, and an end to all of them at once:
      sekisho measures list
      sekisho hold --reason "looking into it"
      sekisho lines show                             what the kernel does to lines, and what differs
    \b
    Who would be affected, before `observe` is switched off: recorded traffic against a policy:
      sekisho replay yesterday.pcap --terms ./nbnet.yaml
    \b
    The record, proved and kept:
      sekisho audit verify                           any event changed, missing or moved, by its number
      sekisho audit show --customer c-1001           all that was done about a customer
      sekisho backup /var/lib/sekisho/backup         while the daemon runs; `sekisho restore` puts it back
    \b
    The checkpoint within a resolver you run already:
      sekisho plugin config unbound --into /etc/unbound/sekisho
    \b
    What customers were told, and whose attention is called to what:
      sekisho notices list c-1001
      sekisho notice-report import notice.csv

    --config FILE and --json may stand before or after any verb. Exit codes: 0 done, 1 refused or
    failed, 2 usage; those of `run` its help says. What shows needs the role viewer, what changes the role operator (`roles:` in
    sekisho.yaml); root has both.
    """


COMMANDS = (run, check, status, terms, optout, group, customers, lists, explain, events, usage, sessions, flows, audit, backup, restore)
MEASURES = (measures, suspend, lines, nas, hold, resume, emergency, outage, announce, notices, attention, notice_report)
for command in (*COMMANDS, *MEASURES, replay, plugin, rpz, reload, completion):
    cli.add_command(command)


def main() -> None:
    """Entry point of `sekisho`."""
    try:
        cli(prog_name="sekisho")
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Nothing more may be written, at exit neither.
        sys.stdout = None
        sys.exit(0)


if __name__ == "__main__":
    main()
