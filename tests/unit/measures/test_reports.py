"""Reports of addresses, in every form they come."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.measures.reports import read_report

NOW = 1_775_090_000.0  # 2026-04-02 in Japan
T = 1_775_003_400.0  # 2026-04-01 09:30 in Japan


def read(text):
    return read_report(text if isinstance(text, bytes) else text.encode(), NOW)


def sightings(text):
    return [(one.line, one.address, one.at, one.port) for one in read(text).good]


@pytest.mark.parametrize(
    "text",
    [
        "address,timestamp,port\n192.0.2.1,2026-04-01T09:30:00+09:00,4711\n",
        "# a comment\nTimestamp,Remark,IP,Port\n2026-04-01 00:30:00Z,x,192.0.2.1,4711\n",
        "IPアドレス,日時,ポート\n192.0.2.1,2026/04/01 09:30:00,4711\n",
        f'[{{"ip": "192.0.2.1", "timestamp": {int(T)}, "port": 4711}}]',
        f'{{"reported": "today", "entries": [{{"address": "::ffff:192.0.2.1", "at": "{int(T)}", "port": "4711"}}]}}',
        f'{{"address": "192.0.2.1", "timestamp": {T}, "port": 4711}}\n',
    ],
    ids=["csv", "other columns", "japanese", "json", "json within an object", "json lines"],
)
def test_every_form_is_read(text):
    assert [(address, at, port) for _, address, at, port in sightings(text)] == [("192.0.2.1", T, 4711)]


def test_japanese_offices_send_shift_jis():
    assert sightings("IPアドレス,日時\n192.0.2.1,2026-04-01 09:30\n".encode("cp932")) == [(2, "192.0.2.1", T, None)]


def test_every_bad_line_is_told_with_its_number_and_no_good_one_is_lost():
    report = read(
        "address,timestamp,port\n"
        "192.0.2.1,2026-04-01T09:30:00+09:00,\n"
        "192.0.2.256,2026-04-01T09:30:00+09:00,\n"
        "192.0.2.2,yesterday,\n"
        "\n"
        "192.0.2.3,2026-04-01T09:30:00+09:00,70000\n"
        "192.0.2.4\n"
        "192.0.2.5,2027-04-01T09:30:00+09:00,1\n"
        "2001:DB8:0::1,2026-04-01T09:30:00+09:00,-\n"
    )
    assert [(one.line, one.address) for one in report.good] == [(2, "192.0.2.1"), (9, "2001:db8::1")]
    assert [one.line for one in report.bad] == [3, 4, 6, 7, 8]
    assert "is no IP address" in report.bad[0].message
    assert "future" in report.bad[-1].message


def test_what_is_broken_from_a_line_on_leaves_the_lines_before_it():
    report = read('address,timestamp\n192.0.2.1,2026-04-01T09:30+09:00\n"192.0.2.2,2026-04-01T09:30+09:00\n')
    assert [one.line for one in report.good] == [2]
    assert [one.line for one in report.bad] == [3]


@pytest.mark.parametrize("text", ["", "a,b\n192.0.2.1,x\n", "address,address,timestamp\n", "[1, {}]", "[" * 100_000, '{"address": "x"'])
def test_what_is_no_report_is_told(text):
    report = read(text)
    assert report.good == ()
    assert report.bad


def test_bad_bytes_spoil_their_line_alone():
    report = read(b"address,timestamp\n192.0.2.1,2026-04-01T09:30+09:00\n\xff\xfe,2026\n")
    assert [one.line for one in report.good] == [2]
    assert [one.line for one in report.bad] == [3]


def test_the_same_sighting_has_the_same_call_whatever_report_it_is_in():
    first = read("address,timestamp\n192.0.2.1,2026-04-01T09:30:00+09:00\n")
    again = read(json.dumps([{"ip": "192.0.2.1", "time": "2026-04-01T00:30:00Z"}]))
    other = read("address,timestamp,port\n192.0.2.1,2026-04-01T09:30:00+09:00,1\n")
    assert first.good[0].call == again.good[0].call != other.good[0].call
    assert first.id != again.id


@given(st.one_of(st.binary(max_size=400), st.text(max_size=300).map(lambda text: f"address,timestamp\n{text}".encode())))
def test_whatever_comes_is_read_or_told(raw):
    report = read_report(raw, NOW)
    assert report.good or report.bad or raw.decode("utf-8", "replace").strip()
