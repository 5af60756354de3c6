"""Customers as files and requests write them.

Owns the keys of a customer, their checks, and the YAML form; `bulk` reads the CSV form with the
same checks. Whether the packs, lists and clauses a customer names exist is `terms.crosscheck`'s.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictFloat, StrictInt, ValidationError, WithJsonSchema, model_validator

from sekisho.config.contacts import LANGUAGES, as_email, as_language
from sekisho.config.document import Document, scan_document
from sekisho.config.faultlist import Faults
from sekisho.config.prefixes import Numbers, read_prefix
from sekisho.config.register import Contract, Customers
from sekisho.config.validation import FileModel, faults_of, shown, validate
from sekisho.config.values import Text, Version, as_items, as_text
from sekisho.model.customers import Consent, Customer, Fee, Plan, Prefix
from sekisho.model.errors import ConfigError, Fault

_ID = re.compile(r"[^\s\x00-\x1f\x7f\"'<>]{1,128}")
_LOGIN = re.compile(r"[^\s\x00-\x1f\x7f\"'<>]{1,253}")


def as_customer_id(value: object) -> str:
    """A network ID, user ID or contract number: any printable text without spaces."""
    text = as_text(value)
    if not _ID.fullmatch(text):
        raise ValueError(f"{shown(text)} is no customer id: no spaces, quotes or angle brackets, at most 128 characters")
    return text


def as_login(value: object) -> str:
    """A name to log in by: printable text without spaces, as long as RADIUS has it."""
    text = as_text(value)
    if not _LOGIN.fullmatch(text):
        raise ValueError(f"{shown(text)} is no log-in name: no spaces, quotes or angle brackets, at most 253 characters")
    return text


def as_moment(value: object) -> str:
    """An ISO 8601 date or time, kept as it was written."""
    if isinstance(value, dt.date):
        return value.isoformat()
    text = as_text(value)
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is no date; write 2021-02-01 or 2021-02-01T09:00:00+09:00") from None
    return text


def as_capacity(value: object) -> float:
    """Mbit/s."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError(f"expected the line's capacity in Mbit/s, more than 0; found {shown(value)}")
    return float(value)


def as_yen(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**10:
        raise ValueError(f"expected whole yen, 0 or more; found {shown(value)}")
    return value


def as_numbers(value: object) -> Numbers:
    return read_prefix(as_text(value))


CustomerId = Annotated[str, BeforeValidator(as_customer_id), WithJsonSchema({"type": "string", "maxLength": 128})]
Moment = Annotated[str, BeforeValidator(as_moment), WithJsonSchema({"type": "string", "examples": ["2021-02-01"]})]
LoginName = Annotated[str, BeforeValidator(as_login), WithJsonSchema({"type": "string", "maxLength": 253})]
Capacity = Annotated[StrictFloat | StrictInt, BeforeValidator(as_capacity), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Yen = Annotated[StrictInt, BeforeValidator(as_yen), WithJsonSchema({"type": "integer", "minimum": 0})]
PrefixNumbers = Annotated[
    Any, BeforeValidator(as_numbers), WithJsonSchema({"type": "string", "examples": ["192.0.2.0/29", "2001:db8:1::/48"]})
]
_TEXTS = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})


class ConsentRecord(FileModel):
    """Comprehensive prior consent, as clauses such as gunma/別記-2 require it."""

    version: Text
    """Version of the terms consented to."""
    at: Moment
    """When, as an ISO 8601 date or time."""


class PlanRecord(FileModel):
    """Line capacity from the customer's side."""

    down_mbps: Capacity
    """Towards the customer, Mbit/s."""
    up_mbps: Capacity
    """From the customer, Mbit/s."""


class FeeRecord(FileModel):
    """The base fee without tax, in yen: of a month or of a year. Credits for outages are reckoned from it."""

    monthly: Yen | None = None
    """Yen a month."""
    yearly: Yen | None = None
    """Yen a year, for a contract paid by the year."""

    @model_validator(mode="after")
    def _one(self) -> FeeRecord:
        if (self.monthly is None) == (self.yearly is None):
            raise ValueError("a contract is paid by the month or by the year; write one of monthly and yearly")
        return self


class Contacts(FileModel):
    """Where notices go."""

    email: Annotated[str, BeforeValidator(as_email), WithJsonSchema({"type": "string", "format": "email"})] | None = None
    """Mail address."""
    language: Annotated[str, BeforeValidator(as_language), WithJsonSchema({"enum": list(LANGUAGES)})] | None = None
    """Language of notices, `ja` or `en`; null: the default of `notices:`."""


class CustomerRecord(FileModel):
    """One customer."""

    id: CustomerId
    """Network ID, user ID or contract number."""
    terms: Annotated[tuple[Text, ...], BeforeValidator(as_items), Field(min_length=1), _TEXTS]
    """Terms pack, or several: contracts stack."""
    consent: ConsentRecord | None = None
    """Consent given; without it no rule that needs consent reaches the customer."""
    prefixes: Annotated[tuple[PrefixNumbers, ...], BeforeValidator(as_items)] = ()
    """Fixed addresses and prefixes."""
    plan: PlanRecord | None = None
    """Line capacity."""
    fee: FeeRecord | None = None
    """Base fee."""
    group: Text | None = None
    """Group the customer belongs to."""
    exempt: Annotated[tuple[Text, ...], BeforeValidator(as_items), _TEXTS] = ()
    """Lists or clauses that do not reach the customer, by the operator's decision."""
    contacts: Contacts | None = None
    """Where notices go."""
    logins: Annotated[tuple[LoginName, ...], BeforeValidator(as_items), _TEXTS] = ()
    """Names the customer logs in by besides the id (RADIUS User-Name)."""


class CustomersFile(FileModel):
    """The customers."""

    version: Version
    customers: tuple[CustomerRecord, ...]
    """The customers, in any order."""


def parse_customer(mapping: Mapping[str, object], file: str = "customer") -> Customer:
    """One customer, as an operator's command hands it over. Raises ConfigError with every fault."""
    document = Document(file, dict(mapping))
    try:
        record = CustomerRecord.model_validate(document.value)
    except ValidationError as error:
        raise ConfigError(faults_of(error, CustomerRecord, document)) from None
    contract = _contract(record)
    prefixes = tuple(Prefix(high << 64 | low, length) for high, low, length in dict.fromkeys(record.prefixes))
    email, language = _contacts(record)
    shared = (contract.plan, contract.group, contract.exempt)
    logins = tuple(dict.fromkeys(record.logins))
    return Customer(record.id, contract.terms, prefixes, _consent(record), *shared, email, contract.fee, language, logins)


def record_of(customer: Customer) -> dict[str, object]:
    """The mapping `parse_customer` reads back: what the ledger keeps of a customer added at run time."""
    record: dict[str, object] = {"id": customer.id, "terms": list(customer.terms)}
    if customer.consent:
        record["consent"] = {"version": customer.consent.version, "at": customer.consent.at}
    if customer.prefixes:
        record["prefixes"] = [str(prefix) for prefix in customer.prefixes]
    if customer.plan:
        record["plan"] = {"down_mbps": customer.plan.down_mbps, "up_mbps": customer.plan.up_mbps}
    if customer.fee:
        record["fee"] = {"yearly" if customer.fee.yearly else "monthly": customer.fee.yen}
    if customer.logins:
        record["logins"] = list(customer.logins)
    if customer.group:
        record["group"] = customer.group
    if customer.exempt:
        record["exempt"] = list(customer.exempt)
    contacts = {"email": customer.email, "language": customer.language}
    if customer.email or customer.language:
        record["contacts"] = {key: value for key, value in contacts.items() if value}
    return record


def parse_customers(text: str, file: str) -> Customers:
    """The customers of a YAML file. Raises ConfigError with every fault, overlapping prefixes included."""
    customers, faults = read_customers(scan_document(text, file))
    if faults:
        raise ConfigError(faults)
    return customers


def read_customers(document: Document) -> tuple[Customers, list[Fault]]:
    """The same for one who looks on for further faults: of a customer with a fault, what is sound is in the register."""
    faults = Faults(document.file)
    try:
        validate(CustomersFile, document)
    except ConfigError as error:
        for fault in error.faults:
            faults.add(fault.line, fault.message, fault.path)
    customers = Customers(document.file)
    contracts: dict[Contract, int] = {}
    consents: dict[Consent | None, int] = {None: 0}
    raw = document.value.get("customers") if isinstance(document.value, dict) else None
    for item, line in zip(raw if isinstance(raw, list) else [], document.item_lines("customers"), strict=False):
        record = _salvage(item)
        if record is None:
            continue
        contract, consent = _contract(record), _consent(record)
        if contract not in contracts:
            contracts[contract] = customers.add_contract(contract)
        if consent not in consents:
            consents[consent] = customers.add_consent(consent)
        known = customers.add(record.id, line, contracts[contract], consents[consent], dict.fromkeys(record.prefixes), *_contacts(record))
        if known:
            faults.add(line, f"customer {record.id} already stands on line {known}; keep one of them", "id")
        else:
            customers.add_logins(record.id, record.logins)
    customers.close(faults)
    return customers, faults.all()


def _salvage(item: object) -> CustomerRecord | None:
    """A customer without what is wrong in it, or None if too little is left. The faults are told already."""
    try:
        return CustomerRecord.model_validate(item)
    except ValidationError as error:
        if not isinstance(item, dict):
            return None
        wrong = [detail["loc"] for detail in error.errors(include_url=False, include_input=False)]
    left = {key: value for key, value in item.items() if (key,) not in wrong}
    for key in {loc[0] for loc in wrong if len(loc) > 1}:
        places = {loc[1] for loc in wrong if len(loc) > 1 and loc[0] == key}
        value = left.pop(key, None)
        if isinstance(value, list):
            left[key] = [one for place, one in enumerate(value) if place not in places]
    try:
        return CustomerRecord.model_validate(left)
    except ValidationError:
        return None


def _contract(record: CustomerRecord) -> Contract:
    plan = Plan(float(record.plan.down_mbps), float(record.plan.up_mbps)) if record.plan else None
    return Contract(tuple(dict.fromkeys(record.terms)), plan, record.group, tuple(dict.fromkeys(record.exempt)), _fee(record))


def _fee(record: CustomerRecord) -> Fee | None:
    fee = record.fee
    if fee is None:
        return None
    return Fee(fee.monthly) if fee.monthly is not None else Fee(fee.yearly or 0, yearly=True)


def _consent(record: CustomerRecord) -> Consent | None:
    return Consent(record.consent.version, record.consent.at) if record.consent else None


def _contacts(record: CustomerRecord) -> tuple[str | None, str | None]:
    """Mail address and language."""
    return (record.contacts.email, record.contacts.language) if record.contacts else (None, None)
