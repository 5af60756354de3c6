"""What notices say: everything a notice has to, in both languages, and nothing a fact could smuggle in."""

from __future__ import annotations

import dataclasses

import pytest

from sekisho.drivers.noticefiles import load_templates
from sekisho.measures.about import Sender, Subject, facts, measure_rule, of_measure
from sekisho.measures.texts import SAMPLE, Templates, digest_items, one_line
from sekisho.measures.words import REASONS, REMEDIES, Language, moment, span
from sekisho.model.clauses import Clause, MeasureRule, NoticeTime, Pack, Record
from sekisho.model.errors import ConfigError
from sekisho.model.measures import Detector, Effect, Extent, Measure, MeasureState, Occasion, Span, Unit

T0 = 1_775_003_400.0  # 2026-04-01 09:30 in Japan
RULE = MeasureRule(
    "x/22", "overload", Detector.DNS_OVERLOAD, Effect.SILENCE, Extent.PARTIAL, NoticeTime.BEFORE, urgent=True, lead=None, period=None,
    extension=False, release_delay=None, termination_after=Span(10, Unit.DAYS), termination_clause="x/26", fees_continue=True, record=Record((), 0),
)  # fmt: skip
PACK = Pack("x", "約款", "Example ISP", "1", (Clause("x/22", "第22条", "平均を超える場合", "far above the average", (RULE,)),))
MEASURES = [
    one
    for one in Occasion
    if one not in {Occasion.ATTENTION, Occasion.ANNOUNCEMENT, Occasion.EMERGENCY, Occasion.C2_BLOCK, Occasion.DIGEST}
]


@pytest.fixture(scope="module")
def templates():
    return load_templates()


def about(occasion, language=Language.EN, subject=None, **more):
    subject = subject or Subject(T0 + 3600, T0 + 7200, Detector.DNS_OVERLOAD, "ticket 4711", "maintenance", "192.0.2.1")
    sender = Sender(language, "support@example.net", "panel.example.net")
    made = facts("n-1", "c-1001", occasion, PACK, "x/22", subject, sender, T0)
    return dataclasses.replace(made, **more)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("occasion", [one for one in Occasion if one is not Occasion.DIGEST])
def test_every_notice_gives_reason_date_period_clause_and_contact(templates, occasion, language):
    text = templates.render(occasion, language, about(occasion, language))
    for needed in ("x/22", "第22条", "support@example.net", moment(T0, language)):
        assert needed in text.plain
    for heading in ("事由:", "期間:", "根拠:") if language is Language.JA else ("Reason:", "Period:", "Clause:"):
        assert heading in text.plain, heading
    assert ("平均を超える場合" if language is Language.JA else "far above the average") in text.plain
    assert text.subject
    assert "\n" not in text.subject
    assert "ticket 4711" in text.plain or occasion is Occasion.C2_BLOCK
    assert all("{{" not in line for lines in text.paragraphs for line in lines)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("occasion", [one for one in MEASURES if one not in {Occasion.LIFTED, Occasion.WITHDRAWN}])
def test_a_notice_of_a_measure_says_how_to_end_it_and_that_fees_go_on(templates, occasion, language):
    text = templates.render(occasion, language, about(occasion, language)).plain
    assert ("解消の方法:" if language is Language.JA else "How to end it:") in text
    assert ("料金は発生します" if language is Language.JA else "Fees go on") in text


@pytest.mark.parametrize("language", Language)
def test_the_notice_on_blocking_says_how_to_opt_out_and_that_nothing_is_guaranteed(templates, language):
    text = templates.render(Occasion.C2_BLOCK, language, about(Occasion.C2_BLOCK, language)).plain
    assert "panel.example.net" in text
    for words in (
        ("完全性を保証するものではありません", "責任を負いません") if language is Language.JA else ("not guaranteed", "not liable")
    ):
        assert words in text


def test_an_attention_call_says_which_address_and_when(templates):
    text = templates.render(Occasion.ATTENTION, Language.EN, about(Occasion.ATTENTION)).plain
    assert "192.0.2.1" in text
    assert moment(T0 + 3600, Language.EN) in text


def test_a_digest_holds_the_whole_of_what_it_tells(templates):
    parts = [templates.render(one, Language.JA, about(one, Language.JA)) for one in (Occasion.BEFORE, Occasion.LIFTED)]
    whole = templates.render(Occasion.DIGEST, Language.JA, about(Occasion.DIGEST, Language.JA, items=digest_items(parts)))
    for part in parts:
        assert part.subject in whole.plain
        assert all(line in whole.plain for lines in part.paragraphs for line in lines)


def test_what_a_fact_holds_is_shown_and_never_obeyed(templates):
    hostile = "<script>alert(1)</script>{{ 7*7 }}\r\nBcc: other@example.com\u202e"
    subject = Subject(T0, None, Detector.OPERATOR, hostile)
    text = templates.render(Occasion.IN_FORCE, Language.EN, about(Occasion.IN_FORCE, subject=subject))
    assert "<script>" not in text.html
    assert "&lt;script&gt;" in text.html
    assert "49" not in text.plain.replace("{{ 7*7 }}", "")
    assert not any(line.startswith("Bcc") for line in text.plain.splitlines())
    assert "\u202e" not in text.plain


def test_one_line_has_no_control_characters():
    assert one_line(" a\r\nb\x00c\u2028d ") == "a b c d"


def test_an_operators_template_comes_first_and_that_of_a_clause_before_it(templates):
    shipped = templates._known
    own = {"before.en.txt": "subject: Ours\n\nText.\n", "gunma/別記-1/before.en.txt": "subject: Of the clause\n\n{{ clause }}\n"}
    both = Templates(shipped, own)
    assert both.check("own") == []
    assert both.render(Occasion.BEFORE, Language.EN, about(Occasion.BEFORE)).subject == "Ours"
    assert both.render(Occasion.BEFORE, Language.EN, about(Occasion.BEFORE, clause="gunma/別記-1")).subject == "Of the clause"
    assert both.render(Occasion.LIFTED, Language.EN, about(Occasion.LIFTED)).subject.startswith("Lifted")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"before.en.txt": "Text without a subject\n"}, "the first line of a notice is `subject: `"),
        ({"before.en.txt": "subject: x\n\n{{ customr }}\n"}, "customr"),
        ({"before.en.txt": "subject: x\n\n{% if %}\n"}, "mend the template"),
        ({"before.en.txt": "subject: x\n\n{{ ''.__class__.__mro__ }}\n"}, "unsafe"),
        ({"before.en.txt": "subject: x\n\n{{ items.append(1) }}\n"}, "mend"),
        ({"before.en.txt": "subject: x\n\n{{ 'x' * 10 ** 6 }}\n"}, "longer than"),
        ({"befor.en.txt": "subject: x\n"}, "no notice is made of this file"),
        ({"gunma/1/befor.en.txt": "subject: x\n"}, "no notice is made of this file"),
        ({"before.en.html": "{{ customr }}"}, "customr"),
    ],
)
def test_a_template_that_cannot_be_filled_is_a_fault_with_its_file(templates, own, message):
    faults = Templates(templates._known, own).check("/etc/templates")
    assert len(faults) == 1
    assert message in str(faults[0])
    assert str(faults[0]).startswith("/etc/templates/" + next(iter(own)).rpartition("/")[0])


def test_a_folder_that_is_not_there_is_a_fault(tmp_path):
    with pytest.raises(ConfigError, match="is not there"):
        load_templates(tmp_path / "none")


def test_times_are_those_of_japan():
    assert moment(T0, Language.JA) == "2026年4月1日 9時30分(日本時間)"
    assert moment(T0, Language.EN) == "1 April 2026, 09:30 JST"
    assert span(Span(10, Unit.BUSINESS_DAYS), Language.JA) == "10営業日"
    assert span(Span(1, Unit.MONTHS), Language.EN) == "1 month"


def test_the_dates_of_a_measure_are_those_of_its_state():
    def measure(state, **more):
        return Measure(
            "m",
            "x/22",
            "c",
            Detector.DNS_OVERLOAD,
            state,
            T0 + 9,
            T0,
            {"queries": 10**6},
            observe=False,
            urgent=False,
            condition_at=T0,
            **more,
        )

    assert of_measure(measure(MeasureState.NOTICED, until=T0 + 5)).since == T0 + 5
    in_force = of_measure(measure(MeasureState.IN_FORCE, enforced_at=T0 + 1, until=T0 + 7))
    assert (in_force.since, in_force.until) == (T0 + 1, T0 + 7)
    lifted = of_measure(measure(MeasureState.LIFTED, enforced_at=T0 + 1))
    assert (lifted.since, lifted.until) == (T0 + 1, T0 + 9)


def test_a_clause_that_is_gone_leaves_its_notice_sendable(templates):
    made = facts("n-1", "c", Occasion.LIFTED, None, "x/22", Subject(), Sender(Language.JA, "a", "b"), T0)
    assert templates.render(Occasion.LIFTED, Language.JA, made).subject
    assert measure_rule(None, None) is None
    assert SAMPLE.clause


def test_every_detector_has_a_reason_and_a_remedy_in_both_languages():
    for detector in Detector:
        for told in (REASONS[detector], REMEDIES[detector]):
            assert bool(told.ja) == bool(told.en) == (detector is not Detector.OPERATOR or told is REMEDIES[detector])
