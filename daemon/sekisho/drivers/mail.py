"""Mail over SMTP (RFC 5321), with STARTTLS (RFC 3207) and AUTH (RFC 4954); one connection a message.

Says for each message whether it was taken, refused, put off, or whether that is unknown: the reply to the
end of the data is the one point at which a lost connection leaves it open whether the server took it.
Blocks: runs on a thread of the caller's.
"""

from __future__ import annotations

import contextlib
import email.policy
import smtplib
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path

from sekisho.drivers.secrets import read_credential
from sekisho.measures.bounces import attempt
from sekisho.measures.notices import Attempt, Outcome
from sekisho.measures.texts import Text
from sekisho.model.errors import UnavailableError

PASSWORD = "smtp-password"  # noqa: S105 - the name of the credential
_POLICY = email.policy.SMTP.clone(max_line_length=78)


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server mail is handed to, and how. `timeout` in seconds, for each of its answers."""

    host: str
    port: int
    sender: str
    starttls: bool = True
    ca: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    timeout: float = 30.0

    def send(self, notice: str, to: str, text: Text, at: float) -> Attempt:
        """Hand one notice over, made at `at`. Raises nothing: what went wrong is the outcome."""
        message = compose(notice, self.sender, to, text, at)
        try:
            connection = self._connect()
        except smtplib.SMTPResponseException as error:
            # The server turned away us (greeting, TLS, log-in), and not this receiver: that may be mended.
            return Attempt(Outcome.DEFERRED, f"the mail server {self} answered {error.smtp_code} before any mail", error.smtp_code)
        except ssl.SSLCertVerificationError as error:
            return Attempt(Outcome.DEFERRED, f"the certificate of the mail server {self} is not good ({error.verify_message}); see `ca`")
        except (OSError, smtplib.SMTPException) as error:
            return Attempt(Outcome.DEFERRED, f"the mail server {self} was not reached or broke off ({_reason(error)})")
        except UnavailableError as error:
            return Attempt(Outcome.DEFERRED, str(error))
        try:
            return _transact(connection, notice, parseaddr(self.sender)[1], to, message)
        except (OSError, smtplib.SMTPException) as error:
            return Attempt(Outcome.DEFERRED, f"the mail server {self} broke off before it had the mail ({_reason(error)})")
        finally:
            # What came of the mail is known: nothing that happens to the farewell changes it.
            with contextlib.suppress(OSError, smtplib.SMTPException):
                connection.quit()
            connection.close()

    def _connect(self) -> smtplib.SMTP:
        """A connection, encrypted and logged in as configured. Raises OSError, SMTPException or UnavailableError."""
        connection = smtplib.SMTP(self.host, self.port, local_hostname=socket.gethostname(), timeout=self.timeout)
        try:
            connection.ehlo_or_helo_if_needed()
            if self.starttls:
                self._encrypt(connection)
            if self.user is not None:
                connection.login(self.user, read_credential(PASSWORD, self.password_file))
        except BaseException:
            connection.close()
            raise
        return connection

    def _encrypt(self, connection: smtplib.SMTP) -> None:
        if not connection.has_extn("starttls"):
            raise UnavailableError(f"the mail server {self} offers no STARTTLS; set `starttls: off` if that is meant")
        connection.starttls(context=ssl.create_default_context(cafile=str(self.ca) if self.ca else None))
        connection.ehlo_or_helo_if_needed()

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _transact(connection: smtplib.SMTP, notice: str, sender: str, to: str, message: EmailMessage) -> Attempt:
    """One mail transaction. Raises OSError or SMTPException for what went wrong before the end of the data."""
    options, about = [], []
    utf8 = not to.isascii()
    if utf8 and not connection.has_extn("smtputf8"):
        return Attempt(Outcome.REFUSED, "the mail server does not take addresses outside ASCII (RFC 6531); give the customer another")
    if utf8:
        options.append("SMTPUTF8")
    if connection.has_extn("8bitmime"):
        options.append("BODY=8BITMIME")
    if connection.has_extn("dsn"):
        options += [f"ENVID={notice}", "RET=HDRS"]
        about.append("NOTIFY=FAILURE")
    code, reply = connection.mail(sender, options)
    if code != 250:
        return attempt(code, _text(reply), recipient=False)
    code, reply = connection.rcpt(to, about)
    if code not in {250, 251}:
        return attempt(code, _text(reply), recipient=True)
    connection.putcmd("data")
    code, reply = connection.getreply()
    if code != 354:
        return attempt(code, _text(reply), recipient=False)
    body = message.as_bytes(policy=_POLICY.clone(utf8=utf8))
    # A line that starts with a dot gets another (RFC 5321 section 4.5.2).
    body = body.replace(b"\r\n.", b"\r\n..")
    connection.sock.sendall(body if body.endswith(b"\r\n") else body + b"\r\n")  # type: ignore[union-attr]
    try:
        connection.sock.sendall(b".\r\n")  # type: ignore[union-attr]
        code, reply = connection.getreply()
    except (OSError, smtplib.SMTPException) as error:
        return Attempt(Outcome.UNKNOWN, f"the mail server broke off after the whole mail was handed over ({_reason(error)})")
    return attempt(code, _text(reply), recipient=False)


def compose(notice: str, sender: str, to: str, text: Text, at: float) -> EmailMessage:
    """The mail of a notice: text and HTML, the same Message-ID at every attempt, marked as automatic (RFC 3834)."""
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = text.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(at, UTC))
    message["Message-ID"] = f"<{notice}.{int(at)}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = str(text.language)
    message["Sekisho-Notice"] = notice
    message.set_content(text.plain, cte="base64")
    message.add_alternative(text.html, subtype="html", cte="base64")
    return message


def _text(reply: bytes) -> str:
    return reply.decode("ascii", "replace")


def _reason(error: Exception) -> str:
    # smtplib tells of a time-out within a dialogue as of a disconnection, with the time-out as its context.
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError) or "timed out" in str(error):
        return "no answer in time"
    return getattr(error, "strerror", None) or type(error).__name__
