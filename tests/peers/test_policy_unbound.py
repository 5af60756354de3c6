"""Why Unbound gets zones of client triggers whole: what a difference takes away stays in its memory."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from scenarios.harness import Resolver
from sekisho.config.policyzones import PolicyZones
from sekisho.drivers.policyprimary import Primary, serving
from sekisho.model.customers import Prefix
from sekisho.rpz.journal import Change
from sekisho.rpz.records import NODATA, client_ip, cname
from sekisho.rpz.zone import Few, Timers, Zone
from support import free_port, require_binary, wait_until

pytestmark = pytest.mark.peers

CONFIG = """
server:
    username: ""
    chroot: ""
    pidfile: ""
    directory: "{folder}"
    use-syslog: no
    logfile: ""
    do-daemonize: no
    module-config: "respip iterator"
    do-not-query-localhost: no
    access-control: 127.0.0.0/8 allow
    interface: 127.0.0.1@{port}
rpz:
    name: "clients.rpz.test"
    primary: 127.0.0.1@{primary}
    allow-notify: 127.0.0.1
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
"""
HELD = (client_ip(Prefix.parse("127.0.0.2")) + cname(NODATA, 5), client_ip(Prefix.parse("127.0.0.4")) + cname(NODATA, 5))


@pytest.mark.parametrize("resolver", ["other", "unbound"])
def test_a_client_trigger_that_is_gone_is_gone_only_where_the_zone_came_whole(tmp_path: Path, resolver: str) -> None:
    port = free_port()
    secondary = {"id": "one", "address": "127.0.0.1", "unsigned": True, "resolver": resolver, "notify": f"127.0.0.1:{port}"}
    settings = PolicyZones.model_validate(
        {"zone": "rpz.test", "listen": ["127.0.0.1:0"], "secondaries": [secondary]}, context={"folder": tmp_path}
    )
    primary, content = Primary(settings), Few()
    zone = Zone(b"\x07clients\x03rpz\x04test\0", "clients.rpz.test", Timers(), 1, content, clients=True)
    content.change(Change((), HELD))

    def silent(source: str, patience: float = 60.0) -> bool:
        """Whether the trigger holds, and the name has no data."""
        answer = dns.query.udp(dns.message.make_query("www.example", "A"), "127.0.0.1", port=port, source=source, timeout=patience)
        return not answer.answer

    def is_up() -> bool:
        try:
            return silent("127.0.0.3", 2.0) is not None
        except (OSError, dns.exception.DNSException):
            return False

    with Resolver().running() as upstream, serving(primary) as (thread, (listening,)):
        thread.call(lambda: primary.serve(zone))
        (tmp_path / "conf").write_text(CONFIG.format(folder=tmp_path, port=port, primary=listening, upstream=upstream.port))
        program = require_binary("unbound")
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([program, "-d", "-c", str(tmp_path / "conf")], stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: is_up() and silent("127.0.0.2"), what="the zone at Unbound")
            done = threading.Event()

            def change() -> None:
                content.change(Change(HELD[:1], ()))
                zone.put(content, Change(HELD[:1], ()), 2)
                primary.notifier.changed(zone)
                done.set()

            thread.call(change)
            assert done.wait(60)
            wait_until(lambda: primary.answers.allowed[0].zones["clients.rpz.test"].serial == 2, what="the change at Unbound")
            kind = primary.answers.allowed[0].zones["clients.rpz.test"].kind
            assert silent("127.0.0.4"), "the trigger that stays"
            if resolver == "unbound":
                assert kind == "axfr"
                wait_until(lambda: not silent("127.0.0.2"), what="the trigger to be gone")
            else:
                assert kind == "ixfr"
                assert silent("127.0.0.2"), "this version takes it away: say so in daemon/README.md"
        finally:
            process.terminate()
            process.wait(60)
