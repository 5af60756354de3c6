"""The criteria of measures that a machine finds, as a text to publish, in Japanese and English.

Owns the words. They say every figure the detectors decide by - the terms' and the configuration's - and that these are the same for
everybody: who reads them can tell beforehand what will be found. Nothing in them is of a customer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sekisho.config.bandwidth import Bandwidth, Duplicates
from sekisho.config.detection import Detection
from sekisho.model.clauses import Capacity, Clause, MeasureRule, NoticeTime, Pack
from sekisho.model.measures import Detector, Effect
from sekisho.terms.describe import octets
from sekisho.terms.overloadcriteria import overload, overload_ends
from sekisho.terms.told import length, rate, span, times

FOUND = (Detector.BANDWIDTH, Detector.MAIL_VOLUME, Detector.CONNECTION_STORM, Detector.DUPLICATE_LOGIN, Detector.DNS_OVERLOAD)
"""Detectors whose criteria are figures."""


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
            yield from _duplicates(figures.duplicates, figures.bandwidth.every, agreed=figures.agreed, japanese=japanese)
        case _:
            yield from overload(figures.detection, japanese=japanese)


def _bandwidth(rule: MeasureRule, told: Bandwidth, *, japanese: bool) -> Iterator[str]:
    if rule.share is not None and rule.window is not None:
        window, share = length(rule.window, japanese=japanese), f"{rule.share:.0%}"
        if japanese:
            whose = "契約回線の速度" if rule.of is Capacity.LINE else "共用区間の容量"
            yield f"下り、上りそれぞれについて、直近{window}の平均通信速度が{whose}の{share}以上であること。"
        else:
            whose = "the line's contracted speed" if rule.of is Capacity.LINE else "the capacity of the shared segment"
            yield f"In one direction, down or up, the average rate over the last {window} is {share} of {whose} or more."
    for number, one in enumerate(rule.volumes):
        window, much = length(one.window, japanese=japanese), octets(one.octets)
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
    window = length(told.congestion_window, japanese=japanese)
    values = [(one.id, told.congested if one.congested is None else one.congested, one.down, one.up) for one in told.segments]
    if japanese:
        yield f"かつ、回線を収容する共用区間が同じ方向で混雑していること({window}の平均利用率が基準値以上であること)。"
        for name, value, down, up in values:
            yield f"共用区間 {name}: 容量 下り{rate(down)}、上り{rate(up)}、混雑の基準値 {value:.0%}。"
        if told.factor > 1:
            yield (
                f"かつ、その共用区間を利用している契約者の中央値の{told.factor:g}倍以上を利用していること"
                "(全体の利用が増えた場合は対象としない)。"
            )
        if not values:
            yield "共用区間は定められていないため、現在この基準に該当する契約者はない。"
        yield _ASSUMED[0].format(release=f"{told.release:.0%}")
        return
    yield (
        f"And a segment the line shares with others is congested in that direction: its average utilisation over {window} "
        "is the value set, or more."
    )
    for name, value, down, up in values:
        yield f"Segment {name}: carries {rate(down)} down and {rate(up)} up, congested from {value:.0%} on."
    if told.factor > 1:
        yield (
            f"And the line uses {told.factor:g} times what the median active line of the segment does, or more: "
            "what lifts everybody is nobody's doing."
        )
    if not values:
        yield "No shared segment is named, so nobody meets this criterion now."
    yield _ASSUMED[1].format(release=f"{told.release:.0%}")


_ASSUMED = (
    (
        "混雑は、利用率が基準値の{release}を下回るまで続くものとする。"
        "通信量を間隔を置いて報告する装置の回線は、次の報告まで直近の報告と同じ速度で利用しているものとみなす。"
    ),
    (
        "Congestion lasts until the utilisation is below {release} of the value. "
        "A line whose traffic is reported at intervals is taken to go on as in its last report until the next."
    ),
)
"""What the utilisation of a segment is made of."""


def _connections(rule: MeasureRule, told: Bandwidth, *, japanese: bool) -> Iterator[str]:
    window, number, is_mail = length(rule.window or 0, japanese=japanese), rule.count or 0, rule.detector is Detector.MAIL_VOLUME
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


def _duplicates(told: Duplicates, every: float, *, agreed: bool, japanese: bool) -> Iterator[str]:
    grace, silent, looks = (length(seconds, japanese=japanese) for seconds in (told.grace, told.silent, every))
    if japanese:
        yield f"一つのIDで同時に{told.allowed}を超えるセッションが、{grace}を超えて並存していること(再接続に伴う重なりを除く)。"
        yield from (f"契約 {plan} Mbit/s: {number}セッションまで。" for plan, number in told.plans.items())
        if agreed:
            yield "VPNグループで別の数を定めた場合は、その数まで。"
        yield (
            "先のセッションは、後のセッションの開始から上記の時間が経過した後にも、アクセスサーバから継続の報告(Interim-Update)があったこと。"
            f"後のセッションは、開始の報告による。{silent}を超えて報告のないセッションは数えない。"
            "継続の報告をしないアクセスサーバのセッションは、そのサーバから何らかの報告がある限り、終了の報告まで継続しているものとする。"
        )
        yield f"判定は{looks}ごとに行う。"
        return
    many = f"{told.allowed} session{'' if told.allowed == 1 else 's'}"
    yield f"One ID is in more than {many} at the same time, side by side for longer than {grace}."
    yield from (f"Plan {plan} Mbit/s: up to {number} sessions." for plan, number in told.plans.items())
    if agreed:
        yield "In a VPN group for which another number is agreed: up to that number."
    yield (
        "The access server has told that the earlier session goes on (Interim-Update) after the later one had begun "
        f"and that time had passed; the later one is there by its Start. A session that was not told of for {silent} does not count. "
        "One of an access server that sends no Interim-Updates goes on until its end is told, as long as anything is heard of that server."
    )
    yield f"This is judged every {looks}."


def _sustained(told: Bandwidth, *, japanese: bool) -> str:
    every = length(told.every, japanese=japanese)
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
        Effect.LIMIT_DNS: (
            f"名前解決の問い合わせを毎秒{rule.rate}回(一時に{rule.burst}回)に制限する",
            f"DNS queries are limited to {rule.rate} a second, {rule.burst} at once",
        ),
        Effect.SILENCE: ("名前解決の問い合わせに応答しない", "DNS queries are not answered"),
        Effect.WALLED_GARDEN: ("名前解決に対し案内ページを返す", "names are answered with the notice page"),
        Effect.BY_HAND: ("担当者が措置を行う", "the operator acts by hand"),
    }[rule.effect]
    told = {
        NoticeTime.NONE: ("通知しない", "the customer is not told"),
        NoticeTime.BEFORE: ("事前に通知する", "the customer is told before"),
        NoticeTime.AFTER: ("事後に通知する", "the customer is told afterwards"),
    }[rule.notice]
    sudden = {
        Detector.DUPLICATE_LOGIN: figures.duplicates.urgent,
        Detector.DNS_OVERLOAD: figures.detection.urgent,
    }.get(rule.detector, figures.bandwidth.urgent)
    if japanese:
        urgent = f"(緊急の場合は事後。この基準に該当することは、緊急の場合と{'する' if sudden else 'しない'})" if rule.urgent else ""
        lead = f"通知から{span(rule.lead, japanese=True)}後に行う。" if rule.lead else ""
        more = "(基準に該当する間は延長する)" if rule.extension else ""
        lasts = f"{span(rule.period, japanese=True)}継続する{more}" if rule.period else "基準に該当する間に限り継続する"
        delay = f"、該当しなくなってから{span(rule.release_delay, japanese=True)}後に解除する" if rule.release_delay else ""
        yield f"措置: {does[0]}。{told[0]}{urgent}。{lead}{lasts}{delay}。"
    else:
        urgent = f", or afterwards where it is urgent, which a finding of this {'is' if sudden else 'is not'}" if rule.urgent else ""
        lead = f", {span(rule.lead, japanese=False)} after the notice" if rule.lead else ""
        more = ", and longer while the criteria are met" if rule.extension else ""
        lasts = f"for {span(rule.period, japanese=False)}{more}" if rule.period else "for as long as the criteria are met"
        delay = f", and {span(rule.release_delay, japanese=False)} longer" if rule.release_delay else ""
        yield f"What is done: {does[1]}{lead}, {lasts}{delay}; {told[1]}{urgent}."
    yield from _ends(rule, figures, japanese=japanese)


def _ends(rule: MeasureRule, figures: Figures, *, japanese: bool) -> Iterator[str]:
    """When the criteria are met no more."""
    settings = figures.bandwidth
    release, clear, pressing = f"{settings.release:.0%}", settings.clear, f"{settings.pressing:.0%}"
    often = times(clear)
    match rule.detector:
        case Detector.BANDWIDTH if japanese:
            yield f"解除: 基準の{release}を下回る判定、または制限がなくても混雑しない判定が{clear}回続いたとき。"
            yield f"制限中の回線は、制限後の速度の{pressing}以上を利用し、制限がなければ区間が混雑する間、基準に該当するものとする。"
        case Detector.BANDWIDTH:
            yield f"It ends after {often} below {release} of the criterion, or without congestion even if nobody were limited."
            yield f"A limited line meets it while it uses {pressing} of what is left, and the segment would be congested without limits."
        case Detector.MAIL_VOLUME | Detector.CONNECTION_STORM:
            focus = (
                "" if rule.focus is None else "、または接続先への集中が上記の割合を下回る判定" if japanese else ", or without that focus"
            )
            if japanese:
                yield f"解除: 上記の回数の{release}を下回る判定{focus}が{clear}回続いたとき。"
            else:
                yield f"It ends after {often} below {release} of that number{focus}."
            if rule.effect is Effect.LIMIT_MAIL and japanese:
                yield f"制限中は、制限後に可能な接続の{pressing}以上を行う間も、基準に該当するものとする。"
            elif rule.effect is Effect.LIMIT_MAIL:
                yield f"While it is limited it is met, too, as long as {pressing} of the connections that are left are begun, or more."
        case Detector.DUPLICATE_LOGIN:
            yield "解除: 並存しなくなったとき。" if japanese else "It ends as soon as the sessions are side by side no more."
        case _:
            yield overload_ends(figures.detection, japanese=japanese)
