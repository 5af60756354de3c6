"""Customers, from YAML, CSV and requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sekisho.config.bulk import COLUMNS, parse_bulk
from sekisho.config.customers import parse_customer, parse_customers, record_of
from sekisho.config.faultlist import MAX_FAULTS
from sekisho.model.customers import Consent, Customer, Fee, Plan, Prefix
from sekisho.model.errors import ConfigError

FULL = Customer(
    "user1@example.com",
    ("gunma", "nbnet"),
    (Prefix.parse("192.0.2.0/29"), Prefix.parse("2001:db8:1::/48")),
    Consent("2021-02-01", "2021-03-15"),
    Plan(1000.0, 100.5),
    "offices",
    ("c2", "nbnet/22-2-5"),
    "user1@example.com",
)

FULL_YAML = """\
version: 1
customers:
  - id: user1@example.com
    terms: [gunma, nbnet]
    consent: {version: 2021-02-01, at: 2021-03-15}
    prefixes: [192.0.2.0/29, "2001:db8:1::/48"]
    plan: {down_mbps: 1000, up_mbps: 100.5}
    group: offices
    exempt: [c2, nbnet/22-2-5]
    contacts: {email: user1@example.com}
  - {id: 7, terms: nbnet}
"""

HEADER = ",".join(COLUMNS)
FULL_ROW = (
    "user1@example.com,gunma nbnet,2021-02-01,2021-03-15,192.0.2.0/29 2001:db8:1::/48,1000,100.5,offices,c2 nbnet/22-2-5,user1@example.com"
)


def _bulk(*rows, header="id,terms,prefixes"):
    return parse_bulk(iter([f"{row}\r\n" for row in (header, *rows)]), "c.csv")


def _faults(*rows, header="id,terms,prefixes"):
    with pytest.raises(ConfigError) as caught:
        _bulk(*rows, header=header)
    return caught.value.faults


def _yaml_faults(*entries):
    with pytest.raises(ConfigError) as caught:
        parse_customers("version: 1\ncustomers:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries), "c.yaml")
    return caught.value.faults


def test_a_customer_file_in_yaml_is_read():
    customers = parse_customers(FULL_YAML, "c.yaml")
    assert list(customers) == [FULL, Customer("7", ("nbnet",))]
    assert customers.line("7") == 11


def test_the_csv_has_the_same_columns():
    customers = _bulk(FULL_ROW, "7,nbnet,,,,,,,,", header=HEADER)
    assert list(customers) == [FULL, Customer("7", ("nbnet",))]
    assert customers.line("7") == 3


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("id,terms,consent,prefixes,plan,group,exempt,contacts", "{0},{1},2021-02-01@2021-03-15,{2},1000/100.5,offices,{3},{0}"),
        ("id,terms,consent,prefixes,plan,group,exempt,email", '{0},{1},2021-02-01 2021-03-15,{2},"1000 100.5",offices,{3},{0}'),
        (
            "id,terms,consent_version,consent_at,prefixes,down_mbps,up_mbps,group,exempt,email",
            "{0},{1},2021-02-01,2021-03-15,{2},1000,100.5,offices,{3},{0}",
        ),
        (
            "ID,Terms,consent,prefixes,plan,group,exempt,contacts",
            '{0},{1},"{{version: 2021-02-01, at: 2021-03-15}}",{2},"{{down_mbps: 1000, up_mbps: 100.5}}",offices,{3},{{email: {0}}}',
        ),
        (
            "contacts.email,exempt,group,plan.up_mbps,plan.down_mbps,prefixes,consent.at,consent.version,terms,id",
            "{0},{3},offices,100.5,1000,{2},2021-03-15,2021-02-01,{1},{0}",
        ),
    ],
)
def test_other_ways_to_write_the_columns_mean_the_same(header, row):
    cells = ("user1@example.com", "gunma nbnet", "192.0.2.0/29 2001:db8:1::/48", "c2 nbnet/22-2-5")
    assert list(_bulk(row.format(*cells), header=header)) == [FULL]


@pytest.mark.parametrize(
    "cell",
    [
        "2021-02-01@2021-03-15T09:00:00+09:00",
        "2021-02-01 2021-03-15T09:00:00+09:00",
        "2021-02-01;2021-03-15T09:00:00+09:00",
        "2021-02-01 | 2021-03-15T09:00:00+09:00",
        "version=2021-02-01 at=2021-03-15T09:00:00+09:00",
        "version=2021-02-01;at=2021-03-15T09:00:00+09:00",
        "at: 2021-03-15T09:00:00+09:00, version: 2021-02-01",
        '{"version": "2021-02-01", "at": "2021-03-15T09:00:00+09:00"}',
    ],
)
def test_a_consent_in_one_cell_is_read_in_every_form_people_write(cell):
    quoted = cell.replace('"', '""')
    (customer,) = _bulk(f'a,gunma,"{quoted}"', header="id,terms,consent")
    assert customer.consent == Consent("2021-02-01", "2021-03-15T09:00:00+09:00")


@pytest.mark.parametrize("cell", ["1000/100.5", "1000 100.5", "1000;100.5", "1000:100.5", "down_mbps=1000 up_mbps=100.5"])
def test_a_plan_in_one_cell_is_read_in_every_form_people_write(cell):
    (customer,) = _bulk(f"a,gunma,{cell}", header="id,terms,plan")
    assert customer.plan == Plan(1000.0, 100.5)


def test_comments_and_blank_lines_are_passed_over():
    customers = parse_bulk(["# version: 1\n", "# ours\n", "terms,id\n", "\n", "nbnet,a\n", "#nbnet,b\n"], "c.csv")
    assert [customer.id for customer in customers] == ["a"]
    customers = parse_bulk(["terms,id\n", "#nbnet,b\n", "nbnet,a\n"], "c.csv")
    assert [(customer.id, customers.line(customer.id)) for customer in customers] == [("a", 3)]


def test_a_csv_of_another_version_is_refused():
    with pytest.raises(ConfigError, match="version 1"):
        parse_bulk(["# version: 2\n", "id,terms\n"], "c.csv")


def test_a_customer_that_was_read_can_be_written_and_read_again():
    assert parse_customer(record_of(FULL)) == FULL
    assert parse_customer(record_of(Customer("a", ("nbnet",)))) == Customer("a", ("nbnet",))


def test_a_customer_added_at_run_time_is_checked_like_one_of_the_file():
    with pytest.raises(ConfigError) as caught:
        parse_customer({"id": "a b", "terms": [], "prefixes": ["192.0.2.1/24"], "emial": "x", "consent": {"version": "1"}})
    assert {fault.path for fault in caught.value.faults} == {"id", "terms", "prefixes[0]", "emial", "consent.at"}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id,terms,prefxes", "did you mean `prefixes`?"),
        ("id,prefixes", "terms is missing"),
        ("terms,prefixes", "id is missing"),
        ("id,terms,email,contacts", "twice"),
        ("id,terms,consent,consent_at", "keep one form"),
        ("id;terms", "commas"),
    ],
)
def test_a_header_that_cannot_be_read_by_is_refused(header, words):
    (fault,) = _faults(header=header)
    assert words in fault.message
    assert fault.line == 1


def test_an_empty_csv_is_told_its_header():
    with pytest.raises(ConfigError, match=r"id,terms,consent\.version"):
        parse_bulk([], "c.csv")


def test_every_fault_of_a_row_is_told_with_its_line_and_column():
    faults = _faults("a,nbnet,,,,,,,,", "b b,,1,,192.0.2.1/24 x,1000,,,,nomail", header=HEADER)
    assert {(fault.line, fault.path) for fault in faults} == {
        (3, "id"),
        (3, "terms"),
        (3, "consent"),
        (3, "prefixes"),
        (3, "plan"),
        (3, "contacts.email"),
    }
    assert any("192.0.2.0/24" in fault.message for fault in faults)


def test_lines_are_those_of_the_file_after_a_cell_of_several_lines():
    faults = parse_faults = _faults('a,nbnet,"192.0.2.1', '192.0.2.2"', "b,nbnet,wrong")
    assert parse_faults[0].line == 4
    assert len(faults) == 1


def test_a_row_of_too_few_cells_and_a_broken_quote_are_told():
    assert "2 cells" in _faults("a,nbnet")[0].message
    assert "CSV" in _faults('a,"nb"net,')[0].message


@pytest.mark.parametrize("cell", ["2021-02-01", "v1@someday", "@2021-03-15", "{version: 1}", "{v: 1}", "{"])
def test_half_a_consent_is_no_consent(cell):
    (fault,) = _faults(f"a,gunma,{cell}", header="id,terms,consent")
    assert fault.path == "consent"


def test_a_consent_without_its_date_is_told_that_both_are_needed():
    assert "needs both" in _faults("a,gunma,2021-02-01", header="id,terms,consent")[0].message
    assert "needs both" in _faults("a,gunma,,2021-03-15", header="id,terms,consent.version,consent.at")[0].message


@pytest.mark.parametrize("cell", ["1000", "0/5", "fast/slow", "nan/1", "inf/1", "-1/5"])
def test_half_a_plan_is_no_plan(cell):
    (fault,) = _faults(f"a,gunma,{cell}", header="id,terms,plan")
    assert fault.path == "plan"


def test_a_file_that_is_not_utf8_is_told_by_line():
    faults = _faults("a,nbnet,", "b\udcff,nbnet,")
    assert [(fault.line, fault.path) for fault in faults] == [(3, "id")]


def test_an_id_given_twice_is_refused_with_the_line_of_the_other():
    (fault,) = _faults("a,nbnet,", "a,gunma,")
    assert (fault.line, fault.path) == (3, "id")
    assert "line 2" in fault.message
    (fault,) = _yaml_faults("id: a, terms: nbnet", "id: a, terms: gunma")
    assert (fault.line, fault.path) == (4, "id")


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        ("192.0.2.0/24", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:db8::/32", "2001:db8:1::/48"),
        ("198.51.100.1", "::ffff:198.51.100.0/120"),
        ("0.0.0.0/0", "203.0.113.1"),
    ],
)
def test_overlapping_prefixes_of_two_customers_are_refused_naming_both_with_file_and_line(mine, others):
    (fault,) = _faults(f"a,nbnet,{mine}", "x,nbnet,10.0.0.0/8" if mine != "0.0.0.0/0" else "x,nbnet,", f"b,nbnet,{others}")
    assert (fault.file, fault.line, fault.path) == ("c.csv", 4, "prefixes")
    for words in ("customer a", "customer b", "c.csv:2", "one customer's only"):
        assert words in fault.message
    (fault,) = _yaml_faults(f"id: a, terms: nbnet, prefixes: ['{mine}']", f"id: b, terms: nbnet, prefixes: ['{others}']")
    assert fault.line == 4


def test_prefixes_of_one_customer_may_nest():
    customers = _bulk("a,nbnet,192.0.2.0/24 192.0.2.7 192.0.2.7/32", "b,nbnet,198.51.100.0/24")
    assert len(customers) == 2


def test_prefixes_are_told_alone_as_with_all_else():
    customers = _bulk("a,nbnet,192.0.2.0/24 192.0.2.7", "b,nbnet,198.51.100.0/24", "c,nbnet,")
    assert {one.id: len(one.prefixes) for one in customers} == {"a": 2, "b": 1, "c": 0}
    assert all(customers.prefixes_of(one.id) == one.prefixes for one in customers)
    assert customers.prefixes_of("nobody") == ()
    asked = ["b", "nobody", "a", "c", "a"]
    assert customers.prefixes_of_each(asked) == list(map(customers.prefixes_of, asked))
    assert customers.prefixes_of_each([]) == _bulk().prefixes_of_each([]) == []
    assert _bulk().prefixes_of_each(["nobody"]) == [()]


def test_prefixes_side_by_side_do_not_overlap():
    assert len(_bulk("a,nbnet,192.0.2.0/25", "b,nbnet,192.0.2.128/25", "c,nbnet,192.0.3.0/24")) == 3


def test_a_customer_with_a_fault_elsewhere_is_still_compared_with_the_others():
    faults = _faults("a,,192.0.2.0/24", "b,nbnet,192.0.2.1 wrong")
    assert {(fault.line, fault.path) for fault in faults} == {(2, "terms"), (3, "prefixes")}
    assert len(faults) == 3
    assert (
        len(_yaml_faults("id: a, terms: nbnet, prefixes: [192.0.2.0/24], plan: x", "id: b, terms: nbnet, prefixes: [192.0.2.1, wrong]"))
        == 3
    )


def test_of_very_many_faults_the_first_are_shown_and_the_rest_are_counted():
    faults = _faults(*(f"u{number},nbnet,wrong" for number in range(MAX_FAULTS + 500)))
    assert len(faults) == MAX_FAULTS + 1
    assert "500 more faults" in faults[-1].message
    faults = _faults(*(f"u{number},nbnet,192.0.2.1" for number in range(MAX_FAULTS + 501)))
    assert len(faults) == MAX_FAULTS + 1
    assert "500 more faults" in faults[-1].message


def test_more_rows_than_are_entered_at_a_time_all_arrive_in_order():
    rows = [
        f"u{number},{'gunma' if number % 3 else 'nbnet'},10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(20000)
    ]
    customers = _bulk(*rows)
    assert [customer.id for customer in customers] == [f"u{number}" for number in range(20000)]
    assert customers.get("u12345").prefixes == (Prefix.parse("10.0.48.57"),)
    assert customers.get("u12345").terms == ("nbnet",)
    assert len(customers.contracts) == 2
    assert customers.get("nobody") is None
    assert "u19999" in customers


def test_one_unusual_row_does_not_lose_its_neighbours():
    rows = [f"u{number},nbnet,2001:db8:{number:x}::/48" for number in range(100)]
    rows[50] = "名前 ,nbnet,2001:DB8:0032:0:0::/48"
    customers = _bulk(*rows)
    assert len(customers) == 100
    assert customers.get("名前").prefixes == (Prefix.parse("2001:db8:32::/48"),)


def test_lines_of_the_customers_under_a_contract_are_found():
    customers = _bulk("a,nbnet,", "b,gunma,", "c,nbnet,")
    number = [contract.terms for contract in customers.contracts].index(("nbnet",))
    assert customers.lines_under([number]) == [(2, number), (4, number)]


def test_a_new_customers_prefixes_are_compared_with_those_of_the_file():
    customers = _bulk("a,nbnet,192.0.2.0/24 2001:db8::/32", "b,nbnet,198.51.100.7", "c,nbnet,0.0.0.0/8")
    (found,) = customers.overlaps_with([Prefix.parse("192.0.2.9"), Prefix.parse("203.0.113.0/24")])
    assert (found.other, str(found.other_prefix), found.where) == ("a", "192.0.2.0/24", "c.csv:2")
    assert [one.other for one in customers.overlaps_with([Prefix.parse("198.51.100.0/24")])] == ["b"]
    assert [one.other for one in customers.overlaps_with([Prefix.parse("::/0")])] == ["c", "a", "b", "a"]
    assert customers.overlaps_with([Prefix.parse("192.0.2.9")], but={"a"}) == []
    assert _bulk("a,nbnet,").overlaps_with([Prefix.parse("192.0.2.9")]) == []


def test_a_fee_is_of_a_month_or_of_a_year():
    (monthly,) = parse_customers("version: 1\ncustomers:\n  - {id: a, terms: gunma, fee: {monthly: 5500}}\n", "c.yaml")
    assert (monthly.fee, parse_customer(record_of(monthly))) == (Fee(5500), monthly)
    (yearly,) = parse_customers("version: 1\ncustomers:\n  - {id: a, terms: gunma, fee: {yearly: 66000}}\n", "c.yaml")
    assert (yearly.fee, parse_customer(record_of(yearly))) == (Fee(66000, yearly=True), yearly)
    assert list(_bulk("a,gunma,5500,", "b,gunma,,66000", "c,gunma,,", header="id,terms,fee.monthly,fee_yearly")) == [
        monthly,
        replace(yearly, id="b"),
        Customer("c", ("gunma",)),
    ]


@pytest.mark.parametrize("fee", ["{}", "{monthly: 1, yearly: 2}", "{monthly: -1}", "{monthly: 1.5}", "{monthly: yes}", "{weekly: 1}"])
def test_what_is_no_fee_is_told(fee):
    (fault,) = _yaml_faults(f"id: a, terms: gunma, fee: {fee}")
    assert "fee" in fault.path


@pytest.mark.parametrize("cells", ["5500,66000", "-1,", "free,", "1.5,"])
def test_what_is_no_fee_in_a_cell_is_told(cells):
    (fault,) = _faults(f"a,gunma,{cells}", header="id,terms,fee.monthly,fee.yearly")
    assert fault.path == "fee.monthly"
