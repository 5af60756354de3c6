"""Exim as the mail server of an operator: on a port of its own, with STARTTLS and log-in, keeping what it took in a file."""

from __future__ import annotations

import contextlib
import mailbox
import os
import pwd
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.binaries import require_binary
from support.net import free_port
from support.waiting import wait_until

USER, PASSWORD = "sekisho", "correct horse"
CONFIG = """\
primary_hostname = mail.example.net
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
exim_user = {user}
exim_group = {group}
never_users =
trusted_users = {user}
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 50
keep_environment =
add_environment =
allow_utf8_domains = true
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
tls_advertise_hosts = *
tls_certificate = {folder}/cert.pem
tls_privatekey = {folder}/key.pem
domainlist local_domains = example.com
acl_smtp_rcpt = rcpt
acl_smtp_data = data
queue_only = false

begin acl
rcpt:
  defer   local_parts = later
          condition = ${{if !exists{{{folder}/open}}}}
          message = 4.7.1 come again
  deny    local_parts = nobody
          message = 5.1.1 no such user nobody@example.com
  deny    local_parts = policy
          message = 5.7.1 not from you
  deny    !authenticated = *
          condition = ${{if exists{{{folder}/log-in}}}}
          message = 5.7.0 log in first
  accept  domains = +local_domains
  deny    message = relay not permitted
data:
  deny    condition = ${{if match{{$recipients}}{{spam@}}}}
          message = 5.7.1 looks like spam
  accept

begin routers
local:
  driver = accept
  domains = +local_domains
  transport = file

begin transports
file:
  driver = appendfile
  file = {mail}/all
  envelope_to_add = true
  mode = 0644
  user = {receiver}
  group = {receivers}

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{login}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
  server_advertise_condition = ${{if def:tls_in_cipher}}
"""


@dataclass
class Exim:
    """A running server; `mails` are what it delivered to a local part of example.com."""

    port: int
    folder: Path
    mail: Path
    process: subprocess.Popen[bytes]

    @property
    def ca(self) -> Path:
        return self.folder / "cert.pem"

    def mails(self, local_part: str) -> list[mailbox.mboxMessage]:
        path, lock = self.mail / "all", self.mail / "all.lock"
        if not path.exists() or lock.exists():
            return []
        size = path.stat().st_size
        with contextlib.closing(mailbox.mbox(path, create=False)) as box:
            found = [mail for mail in box if mail["Envelope-to"] == f"{local_part}@example.com"]
        # Of what was written meanwhile there may be a half.
        return found if not lock.exists() and path.stat().st_size == size else []

    def set(self, name: str, *, there: bool) -> None:
        """`open`: what is put off is taken from now on; `log-in`: nobody is served without one."""
        (self.folder / name).touch() if there else (self.folder / name).unlink(missing_ok=True)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@contextlib.contextmanager
def running_exim(folder: Path) -> Iterator[Exim]:
    """Start Exim in a folder of its own and wait until it greets."""
    with tempfile.TemporaryDirectory(prefix="exim-") as mail:
        receiver = pwd.getpwuid(os.getuid())
        if receiver.pw_uid == 0:
            # Exim delivers nothing as root, and another user cannot pass through the folders of tests.
            receiver = pwd.getpwnam("nobody")
            os.chown(mail, receiver.pw_uid, receiver.pw_gid)
        with _started(folder, Path(mail), receiver) as one:
            yield one


@contextlib.contextmanager
def _started(folder: Path, mail: Path, receiver: pwd.struct_passwd) -> Iterator[Exim]:
    program = require_binary("exim4")
    require_binary("openssl")
    user = pwd.getpwuid(os.getuid()).pw_name
    for name in ("spool", "log"):
        (folder / name).mkdir(parents=True)
    make_certificate(folder)
    config = folder / "exim.conf"
    own = {"user": user, "group": os.getgid(), "receiver": receiver.pw_name, "receivers": receiver.pw_gid}
    config.write_text(CONFIG.format(folder=folder, mail=mail, login=USER, password=PASSWORD, **own))
    port = free_port()
    command = [program, "-C", str(config), "-bdf", "-oX", f"127.0.0.1.{port}", "-oP", str(folder / "exim.pid")]
    with (folder / "exim.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    one = Exim(port, folder, mail, process)

    def greets() -> bool:
        assert process.poll() is None, (folder / "exim.log").read_text(errors="replace")
        with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP("127.0.0.1", port, "test.example.net", timeout=5) as client:
            return client.noop()[0] == 250
        return False

    try:
        wait_until(greets, what="Exim to greet")
        yield one
    finally:
        if process.poll() is None:
            one.stop()


def make_certificate(folder: Path) -> None:
    """A certificate for 127.0.0.1 that is its own authority."""
    command = [
        require_binary("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", "/CN=mail.example.net",
        "-addext", "subjectAltName=IP:127.0.0.1",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
