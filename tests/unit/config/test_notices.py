"""The `notices:` section of the main file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sekisho.config.bulk import parse_bulk
from sekisho.config.customers import parse_customer, record_of
from sekisho.config.notices import MailSettings, NoticeSettings, WebhookSettings, WebSettings
from sekisho.config.settings import parse_settings
from sekisho.config.values import Endpoint
from sekisho.model.errors import ConfigError

HEAD = "version: 1\nupstream: {address: 192.0.2.53}\nnotices:\n"
LEAST = '  from: notices@example.net\n  contact: support@example.net\n  smtp: {server: "mail.example.net"}\n'


def sample(root):
    """The section as the example file shows it."""
    text = (root / "daemon/sekisho.example.yaml").read_text(encoding="utf-8")
    block = text[text.index("# notices:\n") :]
    block = block[: block.index("\n\n")]
    return re.sub(r"^# ?", "", block, flags=re.MULTILINE)


def read(section, file="/etc/sekisho/sekisho.yaml"):
    return parse_settings(HEAD + section, file).notices


def test_the_example_names_every_key_with_its_default(root):
    text = sample(root)
    shown = parse_settings(HEAD.removesuffix("notices:\n") + text, "/x/s.yaml").notices
    for model, section in ((NoticeSettings, shown), (MailSettings, shown.smtp), (WebSettings, shown.web), (WebhookSettings, shown.webhook)):
        for name, field in model.model_fields.items():
            assert re.search(rf"^ +{field.alias or name}:", text, flags=re.MULTILINE), name
            if not field.is_required() and name not in {"smtp", "web", "webhook"}:
                assert getattr(section, name) == field.default, name


def test_the_least_section_is_a_sender_a_contact_and_one_way():
    notices = read(LEAST)
    assert notices.smtp.server == Endpoint("mail.example.net", 587)
    assert (notices.contact.ja, notices.contact.en) == ("support@example.net", "support@example.net")
    assert notices.web is None


def test_paths_start_at_the_folder_of_the_file_and_addresses_of_pages_end_with_a_slash():
    notices = read(LEAST + "  templates: words\n  web: {folder: web, url: https://notices.example.net/x}\n")
    assert (notices.templates, notices.web.folder) == (Path("/etc/sekisho/words"), Path("/etc/sekisho/web"))
    assert notices.web.url == "https://notices.example.net/x/"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("  from: a@example.net\n  contact: x\n", "no way to tell a customer is given"),
        (LEAST.replace("notices@example.net", "nobody"), "is no mail address"),
        (LEAST + "  language: fr\n", "is no language of notices"),
        (LEAST + "  limit: 0\n", "must be at least 1"),
        (LEAST + "  web: {folder: web, url: notices.example.net}\n", "is no address of a web folder"),
        (LEAST + "  webhook: {url: 'ftp://hooks.example.net'}\n", "is no address of a webhook"),
        (LEAST.replace('"mail.example.net"', '"mail.example.net", starttls: off, user: me'), "would send the password readable"),
        (LEAST.replace('"mail.example.net"', '"mail.example.net:99999"'), "is no port"),
        (LEAST + "  contact_: x\n", "did you mean `contact`?"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(section, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(section)


def test_a_log_in_in_clear_is_taken_on_this_machine():
    assert read(LEAST.replace('"mail.example.net"', '"127.0.0.1:25", starttls: off, user: me')).smtp.user == "me"


def test_a_customers_language_is_kept_in_every_form():
    customer = parse_customer({"id": "c", "terms": "gunma", "contacts": {"language": "EN", "email": "c@example.com"}})
    assert (customer.email, customer.language) == ("c@example.com", "en")
    assert parse_customer(record_of(customer)) == customer
    lines = ["id,terms,contacts.language\n", *(f"c-{number},gunma,{'en' if number % 2 else ''}\n" for number in range(4))]
    assert [one.language for one in parse_bulk(iter(lines), "c.csv")] == [None, "en", None, "en"]
    with pytest.raises(ConfigError, match=r"c\.csv:2: contacts\.language: 'fr' is no language"):
        parse_bulk(iter(["id,terms,language\n", "c,gunma,fr\n"]), "c.csv")


def test_whose_mail_address_it_is():
    lines = ["id,terms,email\n", "a,gunma,one@example.com\n", "b,gunma,\n", "c,gunma,One@Example.com\n"]
    assert parse_bulk(iter(lines), "c.csv").with_email("ONE@example.com") == ["a", "c"]
