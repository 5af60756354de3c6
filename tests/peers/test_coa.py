"""FreeRADIUS in the place of a NAS, and radclient against the NAS of the tests: the packets mean the same to others."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess

import pytest

from sekisho.config.coa import CoaSettings
from sekisho.drivers.coa import CoaClient
from sekisho.enforce.naslines import Request
from sekisho.enforce.templates import compose
from sekisho.model.customers import Prefix
from sekisho.model.nas import Answer, ErrorCause, Limit, Patience, RequestKind, RequestOutcome, Target
from support import coaserver, free_port, require_binary, wait_until

pytestmark = pytest.mark.peers

CONFIG = """\
name = nas
prefix = /usr
localstatedir = {folder}
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
libdir = /usr/lib/freeradius
pidfile = {folder}/pid
log {{
    destination = stdout
}}
security {{
    allow_core_dumps = no
}}
thread pool {{
    start_servers = 1
    max_servers = 2
    min_spare_servers = 1
    max_spare_servers = 1
    max_queue_size = 1024
}}
client tests {{
    ipaddr = 127.0.0.1
    secret = "{secret}"
}}
modules {{
    always ok {{
        rcode = ok
    }}
    always reject {{
        rcode = reject
    }}
    detail coa {{
        filename = {folder}/asked
        permissions = 0600
        header = "asked"
    }}
}}
server coa {{
    listen {{
        type = coa
        ipaddr = 127.0.0.1
        port = {port}
        virtual_server = coa
    }}
    recv-coa {{
        coa
        if (&Acct-Session-Id == "gone") {{
            update reply {{
                Error-Cause := Session-Context-Not-Found
            }}
            reject
        }}
        ok
    }}
    send-coa {{
        ok
    }}
}}
"""
SECRET = coaserver.SECRET.decode()
SLOW = Limit(10_000_000, 1_000_000, 100_000_000, 50_000_000)
ACK = Answer(RequestOutcome.ACKNOWLEDGED)


@pytest.fixture
def freeradius(tmp_path):
    program = require_binary("freeradius")
    port = free_port()
    (tmp_path / "radiusd.conf").write_text(CONFIG.format(folder=tmp_path, port=port, secret=SECRET))
    (tmp_path / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-f", "-l", "stdout", "-d", str(tmp_path)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:

        def ready():
            text = (tmp_path / "log").read_text(errors="replace")
            assert process.poll() is None, text
            return "Ready to process requests" in text

        wait_until(ready, what="FreeRADIUS to be ready")
        yield port, tmp_path
    finally:
        process.terminate()
        process.wait(20)


def settings(port, folder, vendor):
    (folder / "secret").write_text(SECRET)
    nas = {"id": "bng-1", "address": f"127.0.0.1:{port}", "secret_file": str(folder / "secret"), "vendor": vendor}
    return CoaSettings.model_validate({"nas": [nas]})


def ask(port, folder, kind, vendor="mikrotik", session="81C0FFEE"):
    told = settings(port, folder, vendor)
    target = Target("bng-1", session, "c1@example.net", "c-1", (Prefix.parse("198.51.100.7"),))

    async def asking():
        client = CoaClient()
        try:
            limit = None if kind is RequestKind.DISCONNECT else SLOW
            return await client.ask(told.nases[0], compose(Request(kind, target, limit), told), Patience(20.0, 3))
        finally:
            await client.close()

    return asyncio.run(asking())


@pytest.mark.parametrize(
    ("vendor", "said"),
    [
        ("mikrotik", ['Mikrotik-Rate-Limit = "1000k/10000k"', "Framed-IP-Address = 198.51.100.7"]),
        ("cisco", ['Cisco-AVPair = "ip:sub-qos-policy-out=sekisho-10000k"', 'Cisco-AVPair = "ip:sub-qos-policy-in=sekisho-1000k"']),
        ("erx", ['ERX-Qos-Profile-Name = "sekisho-10000k"', 'ERX-Ingress-Policy-Name = "sekisho-1000k"']),
        ("wispr", ["WISPr-Bandwidth-Max-Down = 10000000", "WISPr-Bandwidth-Max-Up = 1000000"]),
        ("huawei", ["Huawei-Output-Average-Rate = 10000000", "Huawei-Input-Average-Rate = 1000000"]),
        ("filter-id", ['Filter-Id = "sekisho-10000-1000"']),
    ],
)
def test_freeradius_reads_each_template_as_it_is_meant(freeradius, vendor, said):
    port, folder = freeradius
    assert ask(port, folder, RequestKind.LIMIT, vendor) == ACK
    read = wait_until(lambda: (folder / "asked").exists() and (folder / "asked").read_text(), what="the request in the log")
    for one in [*said, 'Acct-Session-Id = "81C0FFEE"', "Message-Authenticator = 0x", "Event-Timestamp = "]:
        assert one in read, read


def test_freeradius_refuses_with_a_cause(freeradius):
    port, folder = freeradius
    assert ask(port, folder, RequestKind.LIMIT, session="gone") == Answer(RequestOutcome.REFUSED, ErrorCause.SESSION_CONTEXT_NOT_FOUND)


def test_freeradius_takes_a_disconnect(freeradius):
    port, folder = freeradius
    assert ask(port, folder, RequestKind.DISCONNECT) == ACK


def test_freeradius_drops_what_is_signed_with_another_secret(freeradius):
    port, folder = freeradius
    told = settings(port, folder, "filter-id")
    (folder / "secret").write_text("another secret")
    target = Target("bng-1", "81C0FFEE", "c1@example.net", "c-1")

    async def asking():
        client = CoaClient()
        with contextlib.suppress(TimeoutError):
            answer = await client.ask(told.nases[0], compose(Request(RequestKind.LIMIT, target, SLOW), told), Patience(0.2, 1))
        await client.close()
        return answer

    assert asyncio.run(asking()).outcome is RequestOutcome.UNANSWERED


def test_radclient_takes_the_answers_of_the_nas_of_the_tests():
    """What stands in for a NAS in the other tests is one to others too."""
    program = require_binary("radclient")
    with coaserver.running(coaserver.nak(503)) as server:
        asked = 'User-Name = "c1@example.net", Message-Authenticator = 0x00'
        done = subprocess.run(
            [program, "-x", "-t", "20", "-r", "1", f"127.0.0.1:{server.port}", "coa", SECRET],
            input=asked,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert "CoA-NAK" in done.stdout, done.stdout + done.stderr
    assert "Session-Context-Not-Found" in done.stdout
    assert server.asked[0].genuine
