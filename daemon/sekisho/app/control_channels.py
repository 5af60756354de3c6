"""The channels notices go by, as the configuration in force says: mail, web pages, webhook.

Owns putting a notice into words and which driver hands it over. Follows a reload: settings and templates
are looked at anew when the configuration has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sekisho.config.notices import MailSettings, NoticeSettings, WebSettings
from sekisho.drivers.threads import on_thread
from sekisho.measures.notices import Attempt, Limit, Outcome, deemed_at
from sekisho.measures.words import Language
from sekisho.model.clauses import Pack
from sekisho.model.customers import Customer
from sekisho.model.errors import SekishoError, UnavailableError
from sekisho.model.notices import Channel, Notice

if TYPE_CHECKING:
    # Templates, mail and web bring much with them: imported when the first notice is made.
    from sekisho.drivers.mail import MailServer
    from sekisho.drivers.posting import Posting
    from sekisho.drivers.webhook import Webhook
    from sekisho.measures.about import Subject
    from sekisho.measures.texts import Facts, Templates, Text


class Subjects(Protocol):
    """What notices are about, as of now."""

    def subject(self, notice: Notice) -> Subject | None:
        """None if it is not known any more."""
        ...


@dataclass(slots=True)
class _Open:
    """What was made of one configuration."""

    settings: NoticeSettings
    templates: Templates
    mail: MailServer | None
    posting: Posting | None
    webhook: Webhook | None


class Channels:
    """Implements `control_deskparts.Hand`. `settings` and `packs` give what is in force at the time of asking."""

    def __init__(
        self,
        settings: Callable[[], NoticeSettings | None],
        packs: Callable[[], Mapping[str, Pack]],
        find: Callable[[str], Customer | None],
        subjects: Subjects,
        state: Path,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._packs = packs
        self._find = find
        self._subjects = subjects
        self._state = state
        self._clock = clock
        self._opened: _Open | None = None
        self._opening = asyncio.Lock()

    @property
    def configured(self) -> frozenset[Channel]:
        settings = self._settings()
        if settings is None:
            return frozenset()
        given = ((Channel.EMAIL, settings.smtp), (Channel.WEB, settings.web), (Channel.WEBHOOK, settings.webhook))
        return frozenset(channel for channel, of in given if of is not None)

    @property
    def limit(self) -> Limit:
        settings = self._settings()
        return Limit(settings.limit, settings.window) if settings is not None else Limit(1, 0.0)

    async def close(self) -> None:
        if self._opened is not None and self._opened.webhook is not None:
            await self._opened.webhook.close()

    async def hand_over(self, notice: Notice, members: list[Notice]) -> Attempt:
        """Hand a notice over by its channel. Raises ConfigError if it cannot be put into words."""
        if notice.channel is Channel.OBSERVE:
            return Attempt(Outcome.SENT)
        opened = await self._open()
        if opened is None or notice.channel not in self.configured:
            return Attempt(Outcome.DEFERRED, f"the channel {notice.channel} is not configured any more; see `notices:` in sekisho.yaml")
        try:
            text = self._text(opened, notice, members, self._language(opened, notice))
            also = self._also(opened, notice, members, text)
            if opened.mail is not None and notice.channel is Channel.EMAIL:
                mail = opened.mail
                return await on_thread(lambda: mail.send(notice.id, notice.address, text, notice.queued_at), "mail")
            if opened.posting is not None and notice.channel is Channel.WEB:
                posting = opened.posting
                now = self._clock()
                for other in also:
                    await on_thread(partial(posting.post, "", f"{notice.id}-{other.language}", other, opened.templates, now), "posting")
                await on_thread(lambda: posting.post(notice.customer, notice.id, text, opened.templates, now), "posting")
                return Attempt(Outcome.SENT)
            if opened.webhook is not None and notice.channel is Channel.WEBHOOK:
                return await opened.webhook.post(notice.id, content(notice, text, also), self._clock())
        except UnavailableError as error:
            return Attempt(Outcome.DEFERRED, str(error))
        return Attempt(Outcome.REFUSED, f"no notice goes by {notice.channel}")

    async def page(self, customer: str) -> str:
        """Where the notices to a customer are posted, or for the empty id those to everybody; empty if that is not known now."""
        try:
            opened = await self._open()
            if opened is None or opened.posting is None:
                return ""
            posting = opened.posting
            return await on_thread(lambda: posting.page_of(customer), "posting")
        except SekishoError:
            return ""  # told when the notice goes out; that it has to go is on the record all the same

    async def purge(self) -> int:
        """Take away pages on which everything is older than it is kept; returns how many. Raises UnavailableError or ConfigError."""
        opened = await self._open()
        if opened is None or opened.posting is None:
            return 0
        posting, now = opened.posting, self._clock()
        return await on_thread(lambda: posting.purge(now), "posting")

    def deemed_at(self, notice: Notice, members: list[Notice], began: float, accepted: float) -> float | None:
        """When the notice counts as delivered; a digest when the last of what it tells does."""
        settings = self._settings()
        if notice.channel is Channel.EMAIL and settings is not None and settings.smtp is not None:
            accepted += settings.smtp.accepted_after
        times = []
        for one in members or [notice]:
            pack = self._packs().get(one.clause.partition("/")[0])
            times.append(deemed_at(pack.rules if pack is not None else (), notice.channel, began, accepted))
        known = [at for at in times if at is not None]
        return max(known) if known else None

    def _language(self, opened: _Open, notice: Notice) -> Language:
        customer = self._find(notice.customer) if notice.customer else None
        return Language(customer.language if customer is not None and customer.language else opened.settings.language)

    def _also(self, opened: _Open, notice: Notice, members: list[Notice], text: Text) -> list[Text]:
        """What is for everybody, in the languages besides that of `text`."""
        others = [] if notice.customer else [one for one in Language if one is not text.language]
        return [self._text(opened, notice, members, language) for language in others]

    def _text(self, opened: _Open, notice: Notice, members: list[Notice], language: Language) -> Text:
        from sekisho.measures.texts import digest_items  # noqa: PLC0415 - see above

        page = opened.posting.page_of(notice.customer) if opened.posting is not None else ""
        facts = self._facts(opened.settings, notice, language, page)
        if members:
            texts = [opened.templates.render(one.occasion, language, self._facts(opened.settings, one, language, "")) for one in members]
            facts = replace(facts, items=digest_items(texts))
        return opened.templates.render(notice.occasion, language, facts)

    def _facts(self, settings: NoticeSettings, notice: Notice, language: Language, page: str) -> Facts:
        from sekisho.measures.about import Sender, Subject, facts  # noqa: PLC0415 - see above

        opt_out = settings.opt_out or settings.contact
        sender = Sender(language, getattr(settings.contact, language), getattr(opt_out, language))
        pack = self._packs().get(notice.clause.partition("/")[0])
        subject = self._subjects.subject(notice) or Subject()
        return facts(notice.id, notice.customer, notice.occasion, pack, notice.clause, subject, sender, notice.queued_at, page)

    async def _open(self) -> _Open | None:
        """What the configuration in force makes, made once for each."""
        async with self._opening:
            settings = self._settings()
            if self._opened is not None and self._opened.settings is settings:
                return self._opened
            before, self._opened = self._opened, None
            if before is not None and before.webhook is not None:
                await before.webhook.close()
            if settings is not None:
                self._opened = await on_thread(lambda: self._make(settings), "templates")
            return self._opened

    def _make(self, settings: NoticeSettings) -> _Open:
        from sekisho.drivers.noticefiles import load_templates  # noqa: PLC0415 - see above

        webhook = None
        if settings.webhook is not None:
            from sekisho.drivers.webhook import Webhook  # noqa: PLC0415 - see above

            webhook = Webhook(settings.webhook.url, settings.webhook.secret_file, settings.webhook.timeout)
        mail = _mail(settings.smtp, settings.sender) if settings.smtp is not None else None
        posting = _posting(settings.web, self._state, Language(settings.language), self._operator()) if settings.web is not None else None
        return _Open(settings, load_templates(settings.templates), mail, posting, webhook)

    def _operator(self) -> str:
        return ", ".join(dict.fromkeys(pack.operator for pack in self._packs().values()))


def _mail(settings: MailSettings, sender: str) -> MailServer:
    from sekisho.drivers.mail import MailServer  # noqa: PLC0415 - see above

    return MailServer(
        settings.server.host,
        settings.server.port,
        sender,
        settings.starttls == "required",
        settings.ca,
        settings.user,
        settings.password_file,
        settings.timeout,
    )


def _posting(settings: WebSettings, state: Path, language: Language, operator: str) -> Posting:
    from sekisho.drivers.posting import Posting  # noqa: PLC0415 - see above

    return Posting(settings.folder, settings.url, state, settings.keep, language, operator)


def content(notice: Notice, text: Text, also: Sequence[Text] = ()) -> dict[str, object]:
    """A notice as a webhook gets it; `also`: the same in other languages."""
    return {
        "id": notice.id,
        "customer": notice.customer,
        "about": notice.subject,
        "clause": notice.clause,
        "occasion": str(notice.occasion),
        "at": notice.queued_at,
        "language": str(text.language),
        "subject": text.subject,
        "text": text.plain,
        "also": [{"language": str(one.language), "subject": one.subject, "text": one.plain} for one in also],
    }
