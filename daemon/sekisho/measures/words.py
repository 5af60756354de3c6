"""The words of notices in both languages: reasons, effects, periods, dates.

Dates are Japan Standard Time, which has no daylight saving: the terms are of Japanese operators.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import NamedTuple

from sekisho.model.measures import Detector, Effect, Extent, Span, Unit


class Language(enum.StrEnum):
    JA = "ja"
    EN = "en"


class Words(NamedTuple):
    """The same in both languages."""

    ja: str
    en: str

    def of(self, language: Language) -> str:
        return self.ja if language is Language.JA else self.en


REASONS: dict[Detector, Words] = {
    Detector.OPERATOR: Words("", ""),
    Detector.DNS_OVERLOAD: Words(
        "お客様の回線から、統計的な平均を大きく超える数の名前解決要求(DNS)が続き、当社のネームサーバに負荷を与えています。",
        "Far more name-resolution (DNS) requests than the statistical average keep coming from your line and load our name servers.",
    ),
    Detector.BANDWIDTH: Words(
        "お客様の回線が、提供可能な帯域の一定以上を継続して占有し、他のお客様の通信に支障を与えています。",
        "Your line continuously occupies more than a set share of the bandwidth we can offer and disturbs other customers.",
    ),
    Detector.DUPLICATE_LOGIN: Words(
        "お客様の一つのIDによる同時の接続が複数確認されました。",
        "One ID of yours was logged in more than once at the same time.",
    ),
    Detector.MAIL_VOLUME: Words(
        "お客様の回線から短時間に大量の電子メールが送信されています。",
        "A large number of e-mails is being sent from your line within a short time.",
    ),
    Detector.CONNECTION_STORM: Words(
        "お客様の回線から、少数の接続先に対する多数回の接続が繰り返されています。",
        "Your line keeps connecting to a few targets a great many times.",
    ),
    Detector.UNREACHABLE: Words(
        "お客様が届け出られた電子メールアドレスに、当社からの通知が届きません。",
        "Our notices do not reach the e-mail address you gave us.",
    ),
}

REMEDIES: dict[Detector, Words] = {
    Detector.OPERATOR: Words(
        "事由を解消のうえ、下記のお問い合わせ先までご連絡ください。",
        "Please remove the cause and get in touch with us at the contact below.",
    ),
    Detector.DNS_OVERLOAD: Words(
        "大量の名前解決要求を出している機器(マルウェアに感染した機器、設定を誤った機器など)を回線から取り外すか、修正してください。"
        "要求の数が平常に戻ると、措置は自動的に終了します。",
        "Please disconnect or mend the device that sends the requests (infected with malware, or misconfigured). "
        "The measure ends by itself once the number of requests is back to normal.",
    ),
    Detector.BANDWIDTH: Words(
        "継続的な大量の通信をお控えください。通信量が平常に戻ると、措置は自動的に終了します。",
        "Please refrain from continuous mass traffic. The measure ends by itself once the traffic is back to normal.",
    ),
    Detector.DUPLICATE_LOGIN: Words(
        "一つのIDによる同時の接続をおやめください。心当たりのない場合は、パスワードを変更のうえご連絡ください。",
        "Please do not use one ID for several connections at the same time. If it was not you, change the password and contact us.",
    ),
    Detector.MAIL_VOLUME: Words(
        "大量の電子メールの送信を止めてください。心当たりのない場合は、機器がマルウェアに感染しているおそれがあります。",
        "Please stop the sending of mass e-mail. If it is not you who sends it, a device may be infected with malware.",
    ),
    Detector.CONNECTION_STORM: Words(
        "大量の接続を止めてください。心当たりのない場合は、機器がマルウェアに感染しているおそれがあります。接続の数が平常に戻ると、措置は自動的に終了します。",
        "Please stop the mass of connections. If it is not you who makes them, a device may be infected with malware. "
        "The measure ends by itself once the number of connections is back to normal.",
    ),
    Detector.UNREACHABLE: Words(
        "連絡先の電子メールアドレスを更新してください。通知が届くようになると、この事由は解消します。",
        "Please update the e-mail address of your contract. The cause is removed once our notices reach you.",
    ),
}

EFFECTS: dict[Effect, Words] = {
    Effect.SILENCE: Words("名前解決(DNS)の提供の停止", "suspension of name resolution (DNS)"),
    Effect.WALLED_GARDEN: Words(
        "サービスの提供の停止(本通知のページのみ表示)", "suspension of the service (only the notice page is shown)"
    ),
    Effect.LIMIT_DNS: Words("名前解決要求(DNS)の数の制限", "a limit on the number of name-resolution (DNS) requests"),
    Effect.LIMIT_RATE: Words("通信速度の制限", "a limit on the speed of your line"),
    Effect.LIMIT_MAIL: Words("電子メールの送信の制限", "a limit on the sending of e-mail"),
    Effect.BY_HAND: Words("サービスの利用の制限または停止", "restriction or suspension of the service"),
}

EXTENTS: dict[Extent, Words] = {
    Extent.FULL: Words("全部", "in full"),
    Extent.PARTIAL: Words("一部", "in part"),
}

UNTIL_GONE = Words("上記の事由が解消するまで", "for as long as the cause above is there")

_UNITS: dict[Unit, Words] = {
    Unit.SECONDS: Words("秒間", "seconds"),
    Unit.DAYS: Words("日間", "days"),
    Unit.BUSINESS_DAYS: Words("営業日", "business days"),
    Unit.MONTHS: Words("か月", "months"),
}
_ONE: dict[Unit, str] = {Unit.SECONDS: "second", Unit.DAYS: "day", Unit.BUSINESS_DAYS: "business day", Unit.MONTHS: "month"}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
JST = dt.timezone(dt.timedelta(hours=9), "JST")


def moment(seconds: float | None, language: Language) -> str:
    """UNIX seconds as a date and time of Japan; empty for None."""
    if seconds is None:
        return ""
    at = dt.datetime.fromtimestamp(seconds, JST)
    if language is Language.JA:
        return f"{at.year}年{at.month}月{at.day}日 {at.hour}時{at.minute:02}分(日本時間)"
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} JST"


def span(value: Span | None, language: Language) -> str:
    """A length of time as a notice says it; `UNTIL_GONE` for None."""
    if value is None:
        return UNTIL_GONE.of(language)
    amount = f"{value.amount:g}"
    if language is Language.JA:
        return f"{amount}{_UNITS[value.unit].ja}"
    return f"{amount} {_ONE[value.unit] if value.amount == 1 else _UNITS[value.unit].en}"
