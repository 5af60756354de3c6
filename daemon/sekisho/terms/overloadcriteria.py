"""The criteria of DNS overload, in Japanese and English: how many queries are too many, what load is, and how it ends.

Owns the words for `detection:`; what is done is told beside those of other detectors (`criteria`).
"""

from __future__ import annotations

from collections.abc import Iterator

from sekisho.config.detection import Detection, LoadConditions, Statistic
from sekisho.terms.told import length


def overload(told: Detection, *, japanese: bool) -> Iterator[str]:
    """When a customer is found."""
    yield from _queries(told, japanese=japanese)
    yield from _load(told.load, japanese=japanese)
    if japanese:
        yield f"両方に、直近{told.windows}回の判定のうち{told.sustained}回以上(最後の判定を含む)で該当すること(継続性)。"
    else:
        yield f"Both have to be so in {told.sustained} of the last {told.windows} windows, the last one among them."


def overload_ends(told: Detection, *, japanese: bool) -> str:
    """When the criteria are met no more."""
    share = f"{told.release:.0%}"
    if japanese:
        return (
            f"解除: 問い合わせが基準の{share}を下回る判定、またはネームサーバに負荷のない判定が{told.clear}回続いたとき"
            "(問い合わせの大半に応答していない間は、負荷の有無を問わない)。"
        )
    return (
        f"It ends after {told.clear} windows, one after the other, below {share} of that many queries, or without load of the name servers "
        "(which is no question while most of the customer's queries are left unanswered)."
    )


def _queries(told: Detection, *, japanese: bool) -> Iterator[str]:
    window, median = length(told.window, japanese=japanese), told.statistic is Statistic.MEDIAN
    if japanese:
        above = (
            f"中央値に、中央値と中央絶対偏差の1.4826倍のうち大きい方の{told.factor:g}倍を加えた値"
            if median
            else f"平均値の{told.factor:g}倍"
        )
        yield (
            f"{window}あたりの名前解決の問い合わせが、全契約者(最も多い契約者を除く)の{above}を上回り、"
            f"かつ毎秒{told.floor:g}回を超えること(全体の利用が普段より増えた場合は、この回数も同じ割合で引き上げる)。"
        )
        if told.usual:
            yield f"かつ、その契約者自身の普段(負荷のないときの24時間の平均)の{told.usual:g}倍を超えること。"
        if told.by_address:
            yield "複数のIPv4アドレスを持つ契約者については、基準をアドレスの数だけ倍にする。"
        return
    everybody = "all customers who ask (the loudest left out)"
    far = (
        f"above the median of {everybody} by {told.factor:g} times that median, or by {told.factor:g} times 1.4826 times the median "
        "absolute deviation where that is more"
        if median
        else f"more than {told.factor:g} times the mean of {everybody}"
    )
    yield f"DNS queries within {window} are {far}; and more than {told.floor:g} a second, which rises as all ask more than they usually do."
    if told.usual:
        yield f"And they are more than {told.usual:g} times what the customer usually asks, on average over 24 hours without load."
    if told.by_address:
        yield "A customer with several IPv4 addresses is measured as so many lines."


def _load(told: LoadConditions, *, japanese: bool) -> Iterator[str]:
    latency, percentile = told.latency, f"{told.percentile:.0%}"
    if japanese:
        conditions = [
            None if told.utilisation is None else f"処理の稼働率が{told.utilisation:.0%}以上",
            None if told.timeouts is None else f"リゾルバから時間内に回答のない問い合わせが{told.timeouts:.0%}以上",
            None if latency is None else f"リゾルバの回答のうち速い方から{percentile}が回答されるまでの時間が{latency:g}秒以上",
            None if told.queries is None else f"全契約者の問い合わせが毎秒{told.queries:g}回以上",
        ]
        every = "、".join(one for one in conditions if one is not None)
        yield f"かつ、ネームサーバに負荷または支障があること。次のいずれかに該当する場合をいう: {every}。"
        yield f"負荷または支障は、それぞれの値が基準値の{told.release:.0%}を下回るまで続くものとする。"
        return
    conditions = [
        None if told.utilisation is None else f"the busiest worker is at work for {told.utilisation:.0%} of its time or more",
        None if told.timeouts is None else f"{told.timeouts:.0%} of the questions to the resolvers or more get no answer in time",
        None if latency is None else f"the quickest {percentile} of the resolvers' answers take {length(latency, japanese=False)} or more",
        None if told.queries is None else f"all customers together ask {told.queries:g} a second or more",
    ]
    every = "; ".join(one for one in conditions if one is not None)
    yield f"And the name servers are under load, which is any of: {every}."
    yield f"Load that came lasts until its figure is below {told.release:.0%} of the value."
