"""The `notices:` section of the main file: how customers are told, in which words, how often at most."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from sekisho.config.contacts import LANGUAGES, as_email, as_language
from sekisho.config.validation import FileModel, shown
from sekisho.config.values import Endpoint, FilePath, Seconds, SomeSeconds, Text, Whole, as_text, read_endpoint

_SENDER = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]+)>")
_URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")
_HOOK = re.compile(r"https?://[^\s/?#]+(?:[/?][^\s#]*)?")


def _as_server(value: object) -> Endpoint:
    return read_endpoint(as_text(value), 587, names=True)


def _as_sender(value: object) -> str:
    text = as_text(value)
    found = _SENDER.fullmatch(text)
    as_email(found["address"] if found else text)
    return text


def _as_base(value: object) -> str:
    text = as_text(value)
    if not _URL.fullmatch(text):
        raise ValueError(f"{shown(text)} is no address of a web folder; write https://notices.example.net/")
    return text.rstrip("/") + "/"


def _as_hook(value: object) -> str:
    text = as_text(value)
    if not _HOOK.fullmatch(text):
        raise ValueError(f"{shown(text)} is no address of a webhook; write https://hooks.example.net/sekisho")
    return text


def _as_both(value: object) -> object:
    """One text stands for both languages."""
    return value if isinstance(value, dict) else dict.fromkeys(LANGUAGES, value)


Language = Annotated[str, BeforeValidator(as_language), WithJsonSchema({"enum": list(LANGUAGES)})]
Sender = Annotated[str, BeforeValidator(_as_sender), WithJsonSchema({"type": "string", "examples": ["Example ISP <notices@example.net>"]})]
Server = Annotated[Endpoint, PlainValidator(_as_server), WithJsonSchema({"type": "string", "examples": ["mail.example.net:587"]})]
BaseUrl = Annotated[str, BeforeValidator(_as_base), WithJsonSchema({"type": "string", "format": "uri"})]
HookUrl = Annotated[str, BeforeValidator(_as_hook), WithJsonSchema({"type": "string", "format": "uri"})]


class BothLanguages(FileModel):
    """A text in both languages."""

    ja: Text
    """Japanese."""
    en: Text
    """English."""


_BOTH = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"ja": {"type": "string"}, "en": {"type": "string"}},
                "required": ["ja", "en"],
                "additionalProperties": False,
            },
        ]
    }
)
InBoth = Annotated[BothLanguages, BeforeValidator(_as_both), _BOTH]


class MailSettings(FileModel):
    """Mail: the server notices are handed to, over SMTP."""

    server: Server
    """Mail server; port 587 where none is given."""
    starttls: Literal["required", "off"] = "required"
    """Encrypt with STARTTLS and check the server's certificate; off only for a server on this machine or in a network of its own."""
    ca: FilePath | None = None
    """Certificates (PEM) the server's is checked with; null: the system's."""
    user: Text | None = None
    """Name to log in with; null: no log-in."""
    password_file: FilePath | None = None
    """File with the password; the systemd credential `smtp-password` comes first."""
    timeout: SomeSeconds = 30.0
    """Time the server has for each of its answers."""
    accepted_after: Seconds = 0.0
    """How long after the server took it a mail counts as having reached the receiver's server, for terms that ask for that;
    0s where it holds the customers' mailboxes itself or hands on at once."""

    @model_validator(mode="after")
    def _log_in_is_private(self) -> MailSettings:
        if self.user is not None and self.starttls == "off" and not _is_loopback(self.server.host):
            raise ValueError("`user` with `starttls: off` would send the password readable over the network; set `starttls: required`")
        return self


class WebSettings(FileModel):
    """Web: a folder of static pages that a web server shows."""

    folder: FilePath
    """Folder the pages are written to: index.html, feed.atom, feed.json, and each customer's page under a name nobody can guess."""
    url: BaseUrl
    """Where the web server shows that folder."""
    keep: SomeSeconds = 90 * 86400.0
    """How long a notice stays on its page."""


class WebhookSettings(FileModel):
    """Webhook: every notice as JSON to a system of your own, signed with HMAC-SHA256."""

    url: HookUrl
    """Where it is posted."""
    secret_file: FilePath | None = None
    """File with the secret of the signature, at least 16 characters; the systemd credential `webhook-secret` comes first."""
    timeout: SomeSeconds = 10.0
    """Time for each request."""


class NoticeSettings(FileModel):
    """How customers are told of measures."""

    sender: Annotated[Sender, Field(alias="from")]
    """Sender of the mails, as `name <address>` or an address; bounces come back to it."""
    contact: InBoth
    """How a customer reaches you, as every notice says: one text, or one for `ja` and one for `en`."""
    opt_out: InBoth | None = None
    """How a customer opts out of C&C blocking, as the notices on it say; null: by the contact."""
    language: Language = "ja"
    """Language of customers for whom none is recorded, and of announcements."""
    templates: FilePath | None = None
    """Folder of templates of your own, which come before the shipped ones; null: none."""
    limit: Annotated[Whole, Field(ge=1, le=64)] = 6
    """Mails one customer gets within `window` at most; further notices wait and go as one."""
    window: SomeSeconds = 86400.0
    """See `limit`."""
    smtp: MailSettings | None = None
    """Mail; null: none is sent."""
    web: WebSettings | None = None
    """Web pages; null: none are written."""
    webhook: WebhookSettings | None = None
    """Webhook; null: none is called."""

    @model_validator(mode="before")
    @classmethod
    def _some_channel(cls, value: Any) -> Any:
        if isinstance(value, dict) and not {"smtp", "web", "webhook"} & value.keys():
            raise ValueError("no way to tell a customer is given; add `smtp`, `web` or `webhook`")
        return value


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")
