"""The criteria of measures that a machine finds, as a text to publish, in Japanese and English.

Owns the words. They say every figure the detectors decide by - the terms' and the configuration's - and that these are the same for
everybody: who reads them can tell beforehand what will be found. Nothing in them is of a customer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sekisho.config.bandwidth import Bandwidth, Duplicates
from sekisho.config.detection import Detection, Statistic
from sekisho.model.clauses import Capacity, Clause, MeasureRule, NoticeTime, Pack
from sekisho.model.measures import Detector, Effect, Span, Unit
from sekisho.terms.describe import octets

FOUND = (Detector.BANDWIDTH, Detector.MAIL_VOLUME, Detector.CONNECTION_STORM, Detector.DUPLICATE_LOGIN, Detector.DNS_OVERLOAD)
"""Detectors whose criteria are figures."""
_UNITS = ((86400, "日", "day"), (3600, "時間", "hour"), (60, "分", "minute"), (1, "秒", "second"))
_OF = {Unit.DAYS: ("日", "day"), Unit.BUSINESS_DAYS: ("営業日", "business day"), Unit.MONTHS: ("か月", "month")}


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of the configuration."""

    bandwidth: Bandwidth
    duplicates: Duplicates
    detection: Detection
    agreed: bool = False
    """Whether some VPN groups have numbers of sessions of their own."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One rule: the clause it stands in, what the clause says, and the criteria, a sentence each, in one language."""

    clause: str
    article: str
    document: str
    says: str
    detector: Detector
    sentences: tuple[str, ...]


def criteria(packs: Iterable[Pack], figures: Figures, language: str) -> list[Criterion]:
    """Every rule of the packs that a machine finds by figures. `language`: ja or en."""
    japanese = language == "ja"
    return [
        _criterion(pack, clause, rule, figures, japanese=japanese)
        for pack in packs
        for clause in pack.clauses
        for rule in clause.rules
        if isinstance(rule, MeasureRule) and rule.detector in FOUND
    ]


def foreword(language: str) -> tuple[str, ...]:
    """What holds for all of them."""
    if language == "ja":
        return (
            "以下の基準は、該当する約款が適用されるすべての契約者に一律に適用され、機械的に判定します。",
            "通信の内容および通信の相手方は、判定に用いず、記録しません。",
        )
    return (
        "These criteria apply to every customer under the terms named, in the same way, and are judged by a machine.",
        "What is communicated, and with whom, is neither looked at nor recorded.",
    )


def _criterion(pack: Pack, clause: Clause, rule: MeasureRule, figures: Figures, *, japanese: bool) -> Criterion:
    made = _found(rule, figures, japanese=japanese)
    sentences = (*made, *_follows(rule, figures, japanese=japanese))
    return Criterion(clause.id, clause.article, pack.title, clause.ja if japanese else clause.en, rule.detector, sentences)


def _found(rule: MeasureRule, figures: Figures, *, japanese: bool) -> Iterator[str]:
    match rule.detector:
        case Detector.BANDWIDTH:
            yield from _bandwidth(rule, figures.bandwidth, japanese=japanese)
        case Detector.MAIL_VOLUME | Detector.CONNECTION_STORM:
            yield from _connections(rule, figures.bandwidth, japanese=japanese)
        case Detector.DUPLICATE_LOGIN:
            yield from _duplicates(figures.duplicates, agreed=figures.agreed, japanese=japanese)
        case _:
            yield from _overload(figures.detection, japanese=japanese)


def _bandwidth(rule: MeasureRule, told: Bandwidth, *, japanese: bool) -> Iterator[str]:
    if rule.share is not None and rule.window is not None:
        window, share = _length(rule.window, japanese=japanese), f"{rule.share:.0%}"
        if japanese:
            whose = "契約回線の速度" if rule.of is Capacity.LINE else "共用区間の容量"
            yield f"下り、上りそれぞれについて、直近{window}の平均通信速度が{whose}の{share}以上であること。"
        else:
            whose = "the line's contracted speed" if rule.of is Capacity.LINE else "the capacity of the shared segment"
            yield f"In one direction, down or up, the average rate over the last {window} is {share} of {whose} or more."
    for number, one in enumerate(rule.volumes):
        window, much = _length(one.window, japanese=japanese), octets(one.octets)
        if japanese:
            first = "または、" if number or rule.share is not None else ""
            yield f"{first}直近{window}の{'上り' if one.up else '下り'}通信量が{much}以上であること。"
        else:
            first = "Or the" if number or rule.share is not None else "The"
            yield f"{first} volume sent {'from' if one.up else 'to'} the customer within the last {window} is {much} or more."
    if rule.congested:
        yield from _congestion(told, japanese=japanese)
    yield _sustained(told, japanese=japanese)


def _congestion(told: Bandwidth, *, japanese: bool) -> Iterator[str]:
    window = _length(told.congestion_window, japanese=japanese)
    values = [(one.id, told.congested if one.congested is None else one.congested, one.down, one.up) for one in told.segments]
    if japanese:
        yield f"かつ、回線を収容する共用区間が同じ方向で混雑していること({window}の平均利用率が基準値以上であること)。"
        for name, value, down, up in values:
            yield f"共用区間 {name}: 容量 下り{_rate(down)}、上り{_rate(up)}、混雑の基準値 {value:.0%}。"
        if told.factor > 1:
            yield (
                f"かつ、その共用区間を利用している契約者の中央値の{told.factor:g}倍以上を利用していること"
                "(全体の利用が増えた場合は対象としない)。"
            )
        if not values:
            yield "共用区間は定められていないため、現在この基準に該当する契約者はない。"
        return
    yield (
        f"And a segment the line shares with others is congested in that direction: its average utilisation over {window} "
        "is the value set, or more."
    )
    for name, value, down, up in values:
        yield f"Segment {name}: carries {_rate(down)} down and {_rate(up)} up, congested from {value:.0%} on."
    if told.factor > 1:
        yield (
            f"And the line uses {told.factor:g} times what the median active line of the segment does, or more: "
            "what lifts everybody is nobody's doing."
        )
    if not values:
        yield "No shared segment is named, so nobody meets this criterion now."


def _connections(rule: MeasureRule, told: Bandwidth, *, japanese: bool) -> Iterator[str]:
    window, number, is_mail = _length(rule.window or 0, japanese=japanese), rule.count or 0, rule.detector is Detector.MAIL_VOLUME
    if japanese:
        what = "メール送信用ポート(25、465、587)への新規接続" if is_mail else "新規接続"
        yield f"直近{window}の{what}が{number:,}回以上であること。"
        if rule.focus is not None:
            yield f"かつ、そのうち{rule.focus:.0%}以上が少数の接続先に集中していること。接続先は記録しない。"
    else:
        what = "new connections to ports of mail (25, 465, 587)" if is_mail else "new connections"
        yield f"Within the last {window} the line begins {number:,} {what} or more."
        if rule.focus is not None:
            yield f"And {rule.focus:.0%} of them or more go to a few targets. Which ones is not recorded."
    yield _sustained(told, japanese=japanese)


def _duplicates(told: Duplicates, *, agreed: bool, japanese: bool) -> Iterator[str]:
    grace = _length(told.grace, japanese=japanese)
    if japanese:
        yield f"一つのIDで同時に{told.allowed}を超えるセッションが、{grace}を超えて並存していること(再接続に伴う重なりを除く)。"
        yield from (f"契約 {plan} Mbit/s: {number}セッションまで。" for plan, number in told.plans.items())
        if agreed:
            yield "VPNグループで別の数を定めた場合は、その数まで。"
    else:
        many = f"{told.allowed} session{'' if told.allowed == 1 else 's'}"
        yield f"One ID is in more than {many} at the same time, side by side for longer than {grace}."
        yield from (f"Plan {plan} Mbit/s: up to {number} sessions." for plan, number in told.plans.items())
        if agreed:
            yield "In a VPN group for which another number is agreed: up to that number."


def _overload(told: Detection, *, japanese: bool) -> Iterator[str]:
    window = _length(told.window, japanese=japanese)
    median = told.statistic is Statistic.MEDIAN
    if japanese:
        average = "中央値を基準とする値" if median else "平均値"
        yield (
            f"{window}あたりの名前解決の問い合わせが、全契約者の{average}を{told.factor:g}倍以上上回り、"
            f"かつ毎秒{told.floor:g}回を超えること。"
        )
        yield (f"かつ、ネームサーバに負荷または支障があること。直近{told.windows}回の判定のうち{told.sustained}回以上で該当すること。")
    else:
        average = "median" if median else "mean"
        yield (
            f"DNS queries within {window} are {told.factor:g} times the {average} of all customers above it, "
            f"and more than {told.floor:g} a second."
        )
        yield f"And the name servers are under load. Both in {told.sustained} of the last {told.windows} windows."


def _sustained(told: Bandwidth, *, japanese: bool) -> str:
    every = _length(told.every, japanese=japanese)
    if japanese:
        return f"判定は{every}ごとに行い、直近{told.windows}回のうち{told.sustained}回以上で該当すること(継続性)。"
    return f"This is judged every {every}, and has to be so in {told.sustained} of the last {told.windows} times."


def _follows(rule: MeasureRule, figures: Figures, *, japanese: bool) -> Iterator[str]:
    """What is done, for how long, and how it ends."""
    left, keep = 10 if rule.connections is None else rule.connections, f"{rule.keep or 0:.0%}"
    does = {
        Effect.LIMIT_RATE: (f"通信速度を契約回線の速度の{keep}に制限する", f"the line is limited to {keep} of its contracted speed"),
        Effect.LIMIT_MAIL: (
            f"メール送信用ポートへの新規接続を毎分{left}回に制限する(他の通信には影響しない)",
            f"new connections to ports of mail are limited to {left} a minute; the rest of the line is untouched",
        ),
        Effect.LIMIT_DNS: (f"名前解決の問い合わせを毎秒{rule.rate}回に制限する", f"DNS queries are limited to {rule.rate} a second"),
        Effect.SILENCE: ("名前解決の問い合わせに応答しない", "DNS queries are not answered"),
        Effect.WALLED_GARDEN: ("名前解決に対し案内ページを返す", "names are answered with the notice page"),
        Effect.BY_HAND: ("担当者が措置を行う", "the operator acts by hand"),
    }[rule.effect]
    told = {
        NoticeTime.NONE: ("通知しない", "the customer is not told"),
        NoticeTime.BEFORE: ("事前に通知する", "the customer is told before"),
        NoticeTime.AFTER: ("事後に通知する", "the customer is told afterwards"),
    }[rule.notice]
    if japanese:
        urgent = "(緊急の場合は事後)" if rule.urgent else ""
        lasts = f"{_span(rule.period, japanese=True)}継続する" if rule.period else "基準に該当する間に限り継続する"
        delay = f"、該当しなくなってから{_span(rule.release_delay, japanese=True)}後に解除する" if rule.release_delay else ""
        yield f"措置: {does[0]}。{told[0]}{urgent}。{lasts}{delay}。"
        if rule.detector is Detector.BANDWIDTH:
            release, clear = f"{figures.bandwidth.release:.0%}", figures.bandwidth.clear
            yield f"解除: 基準の{release}を下回る判定、または制限がなくても混雑しない判定が{clear}回続いたとき。"
        return
    urgent = ", or afterwards where it is urgent" if rule.urgent else ""
    lasts = f"for {_span(rule.period, japanese=False)}" if rule.period else "for as long as the criteria are met"
    delay = f", and {_span(rule.release_delay, japanese=False)} longer" if rule.release_delay else ""
    yield f"What is done: {does[1]}, {lasts}{delay}; {told[1]}{urgent}."
    if rule.detector is Detector.BANDWIDTH:
        clear, release = figures.bandwidth.clear, f"{figures.bandwidth.release:.0%}"
        yield f"It ends after {clear} times below {release} of the criterion, or without congestion even if nobody were limited."


def _length(seconds: float, *, japanese: bool) -> str:
    if seconds == 86400:
        return "24時間" if japanese else "24 hours"
    size, ja, en = next(((size, ja, en) for size, ja, en in _UNITS if seconds >= size and seconds % size == 0), (1, "秒", "second"))
    number = f"{seconds / size:g}"
    return f"{number}{ja}" if japanese else f"{number} {en}{'' if number == '1' else 's'}"


def _span(told: Span, *, japanese: bool) -> str:
    if told.unit is Unit.SECONDS:
        return _length(told.amount, japanese=japanese)
    ja, en = _OF[told.unit]
    return f"{told.amount:g}{ja}" if japanese else f"{told.amount:g} {en}{'' if told.amount == 1 else 's'}"


def _rate(bits: float) -> str:
    return f"{bits / 1e9:g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:g} Mbit/s"
