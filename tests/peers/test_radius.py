"""RADIUS as others speak it: radclient as the access server, FreeRADIUS as the proxy in front."""

from __future__ import annotations

import datetime as dt
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dns.rcode
import pytest

from sekisho.app.demo_site import BOTH, C2_NAME, OPTING_OUT
from support import checkpoint, free_port, require_binary, wait_until
from support.checkpoint import Checkpoint

pytestmark = [pytest.mark.peers, pytest.mark.slow]
SECRET = "a-shared-secret"
LINE, OTHER = "127.0.0.77", "127.0.0.78"
PROXY = """\
name = proxy
prefix = /usr
confdir = {folder}
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
libdir = /usr/lib/freeradius
pidfile = {folder}/pid
security {{
    allow_core_dumps = no
}}
log {{
    destination = files
    file = {folder}/log
}}
thread pool {{
    start_servers = 1
    max_servers = 2
}}
proxy_requests = yes
home_server sekisho {{
    type = acct
    ipaddr = 127.0.0.1
    port = {to}
    secret = {secret}
    src_ipaddr = 127.0.0.2
    status_check = none
}}
home_server_pool sekisho {{
    home_server = sekisho
}}
realm sekisho {{
    acct_pool = sekisho
    nostrip
}}
client nas {{
    ipaddr = 127.0.0.1
    secret = {secret}
}}
modules {{
    always ok {{
        rcode = ok
    }}
}}
server default {{
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {port}
    }}
    preacct {{
        update control {{
            Proxy-To-Realm := "sekisho"
        }}
        ok
    }}
    accounting {{
        ok
    }}
}}
"""


def rcode(site: Checkpoint, source: str, name: str) -> str:
    message = site.ask(source, name).message
    return "" if message is None else dns.rcode.to_text(message.rcode())


def radclient(port: int, what: str, **attributes: str) -> str:
    """Send one request as an access server does; what it says of the answer."""
    text = "".join(f"{name.replace('_', '-')} = {value}\n" for name, value in attributes.items())
    argv = [require_binary("radclient"), "-x", "-r", "3", "-t", "5", f"127.0.0.1:{port}", "acct", SECRET]
    done = subprocess.run(argv, input=f"Acct-Status-Type = {what}\n{text}", capture_output=True, text=True, timeout=60, check=False)
    assert "Received Accounting-Response" in done.stdout, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"radius": free_port(), "proxy": free_port()}


@pytest.fixture(scope="module")
def site(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    require_binary("radclient")
    secret = tmp_path_factory.mktemp("secrets") / "radius"
    secret.write_text(f"{SECRET}\n")
    nas = [
        {"id": "bras", "address": "127.0.0.1", "secret_file": str(secret)},
        {"id": "proxied", "address": "127.0.0.2", "proxy": True, "secret_file": str(secret)},
    ]
    with checkpoint.running(radius={"listen": [f"127.0.0.1:{ports['radius']}"], "nas": nas}) as one:
        wait_until(lambda: rcode(one, BOTH.address, C2_NAME) == "NXDOMAIN", 600, "the plane enforces", 0.1)
        yield one


def test_a_customer_who_logs_in_is_served_by_the_contract_at_once_and_a_stranger_after_the_log_out(
    site: Checkpoint, ports: dict[str, int]
) -> None:
    assert rcode(site, LINE, C2_NAME) == "REFUSED", "nobody's address"
    line = {"User_Name": BOTH.id, "Acct_Session_Id": "r1", "Framed_IP_Address": LINE, "NAS_IP_Address": "192.0.2.1"}
    radclient(ports["radius"], "Start", **line, Delegated_IPv6_Prefix="2001:db8:77::/56")
    assert rcode(site, LINE, C2_NAME) == "NXDOMAIN", "in force when it is answered"
    used = {"Acct_Output_Octets": "5", "Acct_Output_Gigawords": "1", "Acct_Input_Octets": "7", "Acct_Session_Time": "60"}
    radclient(ports["radius"], "Interim-Update", **line, **used)
    (session,) = site.sekisho("sessions", "show", BOTH.id)["sessions"]
    assert (session["down"], session["up"], session["nas"]) == ((1 << 32) + 5, 7, "bras")
    assert sorted(session["prefixes"]) == [f"{LINE}/32", "2001:db8:77::/56"]
    held = time.time()
    radclient(ports["radius"], "Stop", **line, **used)
    assert rcode(site, LINE, C2_NAME) == "REFUSED"
    found = site.sekisho("sessions", "at", LINE, dt.datetime.fromtimestamp(held, dt.UTC).isoformat())
    assert (found["outcome"], found["customer"]) == ("found", BOTH.id)
    assert site.sekisho("sessions", "at", "2001:db8:77::9")["outcome"] == "unknown"


def test_an_unknown_user_is_answered_counted_and_shown_and_has_no_one_elses_contract(site: Checkpoint, ports: dict[str, int]) -> None:
    radclient(ports["radius"], "Start", User_Name="nobody@example.net", Acct_Session_Id="u1", Framed_IP_Address=OTHER)
    assert rcode(site, OTHER, C2_NAME) == "REFUSED"
    body = site.sekisho("sessions", "show", "--unknown")
    assert [one["user"] for one in body["sessions"]] == ["nobody@example.net"]
    assert site.metrics()["sekisho_sessions_unknown"] == 1
    radclient(ports["radius"], "Stop", User_Name="nobody@example.net", Acct_Session_Id="u1")


@pytest.fixture
def proxy(ports: dict[str, int], tmp_path: Path) -> Iterator[Path]:
    """FreeRADIUS, which hands everything on."""
    program = require_binary("freeradius")
    (tmp_path / "radiusd.conf").write_text(PROXY.format(folder=tmp_path, port=ports["proxy"], to=ports["radius"], secret=SECRET))
    (tmp_path / "dictionary").write_text("")
    with subprocess.Popen(
        [program, "-f", "-d", str(tmp_path), "-n", "radiusd"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as process:
        log = tmp_path / "log"
        try:
            wait_until(lambda: log.exists() and "Ready to process requests" in log.read_text(), 60, "FreeRADIUS", 0.05)
            yield tmp_path
        finally:
            process.terminate()


def test_behind_freeradius_each_access_server_is_known_by_its_name_and_restarts_alone(
    site: Checkpoint, ports: dict[str, int], proxy: Path
) -> None:
    for name, customer, line in (("bras-a", BOTH.id, LINE), ("bras-b", OPTING_OUT.id, OTHER)):
        radclient(ports["proxy"], "Start", User_Name=customer, Acct_Session_Id="same", Framed_IP_Address=line, NAS_Identifier=name)
    assert {one["nas"] for one in site.sekisho("sessions", "show")["sessions"]} == {"proxied:bras-a", "proxied:bras-b"}
    radclient(ports["proxy"], "Accounting-On", NAS_Identifier="bras-a")
    assert [one["customer"] for one in site.sekisho("sessions", "show")["sessions"]] == [OPTING_OUT.id]
    assert rcode(site, LINE, C2_NAME) == "REFUSED"
    restarts = 'sekisho_radius_packets_total{kind="nas-on",outcome="taken"}'
    wait_until(lambda: site.metrics()[restarts] == 1, 30, "it is counted")
    radclient(ports["proxy"], "Accounting-Off", NAS_Identifier="bras-b")
    assert site.sekisho("sessions", "show")["live"] == 0
