"""The routes of measures, emergencies, outages and announcements.

GET    /v1/measures?customer=&clause=&closed=0|1&limit=      POST {customer, clause, reason, urgent}: a suspension by hand
GET    /v1/measure?id=
POST   /v1/measures/lift, dismiss, corrected {measure, reason}
POST   /v1/measures/extend {measure, until, reason}         POST /v1/measures/delivered {measure, at}
POST   /v1/exemptions {customer, clause, reason, until}     DELETE {customer, clause, reason}
POST   /v1/hold {reason}                                    DELETE {reason}
GET    /v1/emergency                                        POST {clauses, until, priority, reason}, DELETE {reason}
GET    /v1/outages                                          POST {since, known, affected, reason}
GET    /v1/outage?id=&after=&limit=                         POST /v1/outages/close {outage, at}
POST   /v1/interruptions {what, packs, since, until, reason, urgent}
"""

from __future__ import annotations

from sekisho.api.operations import Json, Operations
from sekisho.api.requests import MAX_LIMIT, Fields
from sekisho.api.route import ApiRoute
from sekisho.model.roles import Role


async def show_measures(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer, clause = fields.optional_text("customer"), fields.optional_text("clause")
    closed, limit = fields.integer("closed", 0, 0, 1), fields.integer("limit", 1000, 1, MAX_LIMIT)
    fields.end()
    return await operations.show_measures(customer, clause, closed=bool(closed), limit=limit)


async def show_measure(operations: Operations, fields: Fields, _actor: str) -> Json:
    measure = fields.text("id")
    fields.end()
    return await operations.show_measure(measure)


async def suspend(operations: Operations, fields: Fields, actor: str) -> Json:
    customer, clause = fields.text("customer"), fields.text("clause")
    reason, urgent = fields.text("reason"), fields.flag("urgent")
    fields.end()
    return await operations.suspend(customer, clause, reason=reason, urgent=urgent, actor=actor)


async def lift_measure(operations: Operations, fields: Fields, actor: str) -> Json:
    measure, reason = fields.text("measure"), fields.text("reason")
    fields.end()
    return await operations.lift_measure(measure, reason=reason, actor=actor)


async def dismiss_measure(operations: Operations, fields: Fields, actor: str) -> Json:
    measure, reason = fields.text("measure"), fields.text("reason")
    fields.end()
    return await operations.dismiss_measure(measure, reason=reason, actor=actor)


async def correct_measure(operations: Operations, fields: Fields, actor: str) -> Json:
    measure, reason = fields.text("measure"), fields.text("reason")
    fields.end()
    return await operations.correct_measure(measure, reason=reason, actor=actor)


async def extend_measure(operations: Operations, fields: Fields, actor: str) -> Json:
    measure, until, reason = fields.text("measure"), fields.some_time("until"), fields.text("reason")
    fields.end()
    return await operations.extend_measure(measure, until=until, reason=reason, actor=actor)


async def deliver_notice(operations: Operations, fields: Fields, actor: str) -> Json:
    measure, at = fields.text("measure"), fields.time("at")
    fields.end()
    return await operations.deliver_notice(measure, at=at, actor=actor)


async def exempt(operations: Operations, fields: Fields, actor: str) -> Json:
    customer, clause = fields.text("customer"), fields.text("clause")
    reason, until = fields.text("reason"), fields.time("until")
    fields.end()
    return await operations.exempt(customer, clause, reason=reason, until=until, actor=actor)


async def unexempt(operations: Operations, fields: Fields, actor: str) -> Json:
    customer, clause = fields.text("customer"), fields.text("clause")
    reason = fields.optional_text("reason") or ""
    fields.end()
    return await operations.unexempt(customer, clause, reason=reason, actor=actor)


async def hold(operations: Operations, fields: Fields, actor: str) -> Json:
    reason = fields.text("reason")
    fields.end()
    return await operations.hold(reason=reason, actor=actor)


async def resume(operations: Operations, fields: Fields, actor: str) -> Json:
    reason = fields.optional_text("reason") or ""
    fields.end()
    return await operations.resume(reason=reason, actor=actor)


async def show_emergency(operations: Operations, fields: Fields, _actor: str) -> Json:
    fields.end()
    return await operations.show_emergency()


async def start_emergency(operations: Operations, fields: Fields, actor: str) -> Json:
    clauses, priority = fields.texts("clauses"), fields.texts("priority")
    until, reason = fields.some_time("until"), fields.text("reason")
    fields.end()
    return await operations.start_emergency(clauses=clauses, until=until, priority=priority, reason=reason, actor=actor)


async def end_emergency(operations: Operations, fields: Fields, actor: str) -> Json:
    reason = fields.optional_text("reason") or ""
    fields.end()
    return await operations.end_emergency(reason=reason, actor=actor)


async def show_outages(operations: Operations, fields: Fields, _actor: str) -> Json:
    fields.end()
    return await operations.show_outages()


async def show_outage(operations: Operations, fields: Fields, _actor: str) -> Json:
    outage, after = fields.text("id"), fields.optional_text("after")
    limit = fields.integer("limit", 1000, 1, MAX_LIMIT)
    fields.end()
    return await operations.show_outage(outage, after=after, limit=limit)


async def open_outage(operations: Operations, fields: Fields, actor: str) -> Json:
    since, known = fields.time("since"), fields.time("known")
    affected, reason = fields.texts("affected"), fields.text("reason")
    fields.end()
    return await operations.open_outage(since=since, known=known, affected=affected, reason=reason, actor=actor)


async def close_outage(operations: Operations, fields: Fields, actor: str) -> Json:
    outage, at = fields.text("outage"), fields.time("at")
    fields.end()
    return await operations.close_outage(outage, at=at, actor=actor)


async def announce(operations: Operations, fields: Fields, actor: str) -> Json:
    what, packs = fields.text("what"), fields.texts("packs")
    since, until = fields.some_time("since"), fields.time("until")
    reason, urgent = fields.text("reason"), fields.flag("urgent")
    fields.end()
    return await operations.announce(what, packs=packs, since=since, until=until, reason=reason, urgent=urgent, actor=actor)


MEASURE_ROUTES: tuple[ApiRoute, ...] = (
    ApiRoute("GET", "/v1/measures", Role.VIEWER, show_measures),
    ApiRoute("POST", "/v1/measures", Role.OPERATOR, suspend),
    ApiRoute("GET", "/v1/measure", Role.VIEWER, show_measure),
    ApiRoute("POST", "/v1/measures/lift", Role.OPERATOR, lift_measure),
    ApiRoute("POST", "/v1/measures/dismiss", Role.OPERATOR, dismiss_measure),
    ApiRoute("POST", "/v1/measures/corrected", Role.OPERATOR, correct_measure),
    ApiRoute("POST", "/v1/measures/extend", Role.OPERATOR, extend_measure),
    ApiRoute("POST", "/v1/measures/delivered", Role.OPERATOR, deliver_notice),
    ApiRoute("POST", "/v1/exemptions", Role.OPERATOR, exempt),
    ApiRoute("DELETE", "/v1/exemptions", Role.OPERATOR, unexempt),
    ApiRoute("POST", "/v1/hold", Role.OPERATOR, hold),
    ApiRoute("DELETE", "/v1/hold", Role.OPERATOR, resume),
    ApiRoute("GET", "/v1/emergency", Role.VIEWER, show_emergency),
    ApiRoute("POST", "/v1/emergency", Role.OPERATOR, start_emergency),
    ApiRoute("DELETE", "/v1/emergency", Role.OPERATOR, end_emergency),
    ApiRoute("GET", "/v1/outages", Role.VIEWER, show_outages),
    ApiRoute("POST", "/v1/outages", Role.OPERATOR, open_outage),
    ApiRoute("GET", "/v1/outage", Role.VIEWER, show_outage),
    ApiRoute("POST", "/v1/outages/close", Role.OPERATOR, close_outage),
    ApiRoute("POST", "/v1/interruptions", Role.OPERATOR, announce),
)
