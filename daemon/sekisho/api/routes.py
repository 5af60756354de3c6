"""The routes: one small function each, from a request to an operation and back to JSON.

    GET    /v1/status
    GET    /v1/optouts?customer=&list=         POST, DELETE {customer, list, until, by}
    GET    /v1/customers?after=&limit=         POST {record | text, replace}
    GET    /v1/customer?id=                    DELETE {customer}
    GET    /v1/lists?id=
    POST   /v1/lists/refresh {list}            POST /v1/lists/accept {list}
    POST   /v1/exceptions {list, name, subtree, reason}    DELETE {list, name}
    POST   /v1/explain {customer | address, port, name, type, tcp}
    GET    /v1/explain/measure?customer=       GET /v1/explain/line?customer=
    GET    /v1/usage?customer=
    GET    /v1/events?customer=&list=&since=&limit=
    GET    /v1/audit/events?after=&limit=&customer=
    GET    /v1/rpz
    GET    /v1/rpz/config?resolver=&part=&secondary=&primary=&key_file=&folder=&clients=
    POST   /v1/rpz/export {folder, zone, without_addresses}
    POST   /v1/backup {folder}
    POST   /v1/reload
    and those of measures (`routes_measures`), of groups (`routes_groups`), of lines (`routes_lines`),
    of notices and attention calls (`routes_notices`), of sessions (`routes_sessions`)

Every route states the role it needs: there is no other way to write one, and reading needs the
viewer's, changing the operator's. An operation that changes something is handed who asked.

Ids stand in query strings and bodies, since they may hold any character; names stand in bodies
only, since addresses of requests are what programs log.
"""

from __future__ import annotations

from starlette.requests import Request

from sekisho.api import routes_flows, routes_notices, routes_sessions
from sekisho.api.operations import Json, Operations
from sekisho.api.requests import MAX_BODY, MAX_LIMIT, BadRequestError, Fields
from sekisho.api.route import ApiRoute
from sekisho.api.routes_groups import GROUP_ROUTES
from sekisho.api.routes_lines import LINE_ROUTES
from sekisho.api.routes_measures import MEASURE_ROUTES
from sekisho.model.roles import Role

MAX_NUMBER = (1 << 63) - 1
"""Of an event."""

__all__ = ["ROUTES", "ApiRoute", "read_fields"]


async def status(operations: Operations, fields: Fields, _actor: str) -> Json:
    fields.end()
    return await operations.status()


async def show_opt_outs(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer, list_id = fields.optional_text("customer"), fields.optional_text("list")
    fields.end()
    return await operations.show_opt_outs(customer, list_id)


async def add_opt_out(operations: Operations, fields: Fields, actor: str) -> Json:
    customer, list_id = fields.text("customer"), fields.text("list")
    until, by = fields.time("until"), fields.optional_text("by")
    fields.end()
    return await operations.add_opt_out(customer, list_id, until=until, by=by, actor=actor)


async def remove_opt_out(operations: Operations, fields: Fields, actor: str) -> Json:
    customer, list_id, by = fields.text("customer"), fields.text("list"), fields.optional_text("by")
    fields.end()
    return await operations.remove_opt_out(customer, list_id, by=by, actor=actor)


async def show_customers(operations: Operations, fields: Fields, _actor: str) -> Json:
    after, limit = fields.optional_text("after"), fields.integer("limit", 100, 1, MAX_LIMIT)
    fields.end()
    return await operations.show_customers(after=after, limit=limit)


async def show_customer(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer = fields.text("id")
    fields.end()
    return await operations.show_customer(customer)


async def add_customer(operations: Operations, fields: Fields, actor: str) -> Json:
    text, replace = fields.optional_text("text"), fields.flag("replace")
    record = fields.mapping("record") if text is None else text
    fields.end()
    return await operations.add_customer(record, replace=replace, actor=actor)


async def remove_customer(operations: Operations, fields: Fields, actor: str) -> Json:
    customer = fields.text("customer")
    fields.end()
    return await operations.remove_customer(customer, actor=actor)


async def show_lists(operations: Operations, fields: Fields, _actor: str) -> Json:
    list_id = fields.optional_text("id")
    fields.end()
    return await operations.show_lists(list_id)


async def refresh_lists(operations: Operations, fields: Fields, actor: str) -> Json:
    list_id = fields.optional_text("list")
    fields.end()
    return await operations.refresh_lists(list_id, actor=actor)


async def accept_list(operations: Operations, fields: Fields, actor: str) -> Json:
    list_id = fields.text("list")
    fields.end()
    return await operations.accept_list(list_id, actor=actor)


async def add_exception(operations: Operations, fields: Fields, actor: str) -> Json:
    list_id, name = fields.text("list"), fields.text("name")
    subtree, reason = fields.flag("subtree"), fields.optional_text("reason") or ""
    fields.end()
    return await operations.add_exception(list_id, name, subtree=subtree, reason=reason, actor=actor)


async def remove_exception(operations: Operations, fields: Fields, actor: str) -> Json:
    list_id, name = fields.text("list"), fields.text("name")
    fields.end()
    return await operations.remove_exception(list_id, name, actor=actor)


async def explain(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer, address = fields.optional_text("customer"), fields.optional_text("address")
    name, qtype = fields.text("name"), fields.optional_text("type") or "A"
    port, tcp = fields.integer("port", 0, 0, 65535), fields.flag("tcp")
    fields.end()
    if (customer is None) == (address is None):
        raise BadRequestError("explain needs a customer or an address and not both; send one of the two")
    return await operations.explain(customer=customer, address=address, port=port, name=name, qtype=qtype, tcp=tcp)


async def explain_measure(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer = fields.text("customer")
    fields.end()
    return await operations.explain_measure(customer=customer)


async def explain_line(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer = fields.text("customer")
    fields.end()
    return await operations.explain_line(customer=customer)


async def show_usage(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer = fields.text("customer")
    fields.end()
    return await operations.show_usage(customer=customer)


async def events(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer, list_id = fields.optional_text("customer"), fields.optional_text("list")
    since, limit = fields.time("since"), fields.integer("limit", 100, 1, MAX_LIMIT)
    fields.end()
    return await operations.events(customer=customer, list_id=list_id, since=since, limit=limit)


async def audit_events(operations: Operations, fields: Fields, _actor: str) -> Json:
    after, limit = fields.integer("after", 0, 0, MAX_NUMBER), fields.integer("limit", 1000, 1, MAX_LIMIT)
    customer = fields.optional_text("customer")
    fields.end()
    return await operations.audit_events(after=after, limit=limit, customer=customer)


async def show_nas(operations: Operations, fields: Fields, _actor: str) -> Json:
    nas, limit = fields.optional_text("id"), fields.integer("limit", 1000, 1, MAX_LIMIT)
    fields.end()
    return await operations.show_nas(nas, limit=limit)


async def backup(operations: Operations, fields: Fields, actor: str) -> Json:
    folder = fields.text("folder")
    fields.end()
    return await operations.backup(folder, actor=actor)


async def show_policy_zones(operations: Operations, fields: Fields, _actor: str) -> Json:
    fields.end()
    return await operations.show_policy_zones()


async def policy_zone_configuration(operations: Operations, fields: Fields, _actor: str) -> Json:
    resolver, part = fields.text("resolver"), fields.optional_text("part") or ""
    secondary, primary = fields.optional_text("secondary"), fields.optional_text("primary")
    key_file, folder, clients = fields.optional_text("key_file"), fields.optional_text("folder"), fields.optional_text("clients")
    fields.end()
    return await operations.policy_zone_configuration(
        resolver, part=part, secondary=secondary, primary=primary, key_file=key_file, folder=folder, clients=clients
    )


async def export_policy_zones(operations: Operations, fields: Fields, actor: str) -> Json:
    folder, zone, addresses = fields.text("folder"), fields.optional_text("zone"), not fields.flag("without_addresses")
    fields.end()
    return await operations.export_policy_zones(folder, zone, addresses=addresses, actor=actor)


async def reload(operations: Operations, fields: Fields, actor: str) -> Json:
    fields.end()
    return await operations.reload(actor=actor)


ROUTES: tuple[ApiRoute, ...] = (
    ApiRoute("GET", "/v1/status", Role.VIEWER, status),
    ApiRoute("GET", "/v1/optouts", Role.VIEWER, show_opt_outs),
    ApiRoute("POST", "/v1/optouts", Role.OPERATOR, add_opt_out),
    ApiRoute("DELETE", "/v1/optouts", Role.OPERATOR, remove_opt_out),
    ApiRoute("GET", "/v1/customers", Role.VIEWER, show_customers),
    ApiRoute("POST", "/v1/customers", Role.OPERATOR, add_customer),
    ApiRoute("GET", "/v1/customer", Role.VIEWER, show_customer),
    ApiRoute("DELETE", "/v1/customer", Role.OPERATOR, remove_customer),
    ApiRoute("GET", "/v1/lists", Role.VIEWER, show_lists),
    ApiRoute("POST", "/v1/lists/refresh", Role.OPERATOR, refresh_lists),
    ApiRoute("POST", "/v1/lists/accept", Role.OPERATOR, accept_list),
    ApiRoute("POST", "/v1/exceptions", Role.OPERATOR, add_exception),
    ApiRoute("DELETE", "/v1/exceptions", Role.OPERATOR, remove_exception),
    ApiRoute("POST", "/v1/explain", Role.VIEWER, explain),
    ApiRoute("GET", "/v1/explain/measure", Role.VIEWER, explain_measure),
    ApiRoute("GET", "/v1/explain/line", Role.VIEWER, explain_line),
    ApiRoute("GET", "/v1/usage", Role.VIEWER, show_usage),
    ApiRoute("GET", "/v1/events", Role.VIEWER, events),
    ApiRoute("GET", "/v1/audit/events", Role.VIEWER, audit_events),
    ApiRoute("GET", "/v1/rpz", Role.VIEWER, show_policy_zones),
    ApiRoute("GET", "/v1/rpz/config", Role.VIEWER, policy_zone_configuration),
    ApiRoute("POST", "/v1/rpz/export", Role.OPERATOR, export_policy_zones),
    ApiRoute("POST", "/v1/backup", Role.OPERATOR, backup),
    ApiRoute("POST", "/v1/reload", Role.OPERATOR, reload),
    ApiRoute("GET", "/v1/nas", Role.VIEWER, show_nas),
    *MEASURE_ROUTES,
    ApiRoute("GET", "/v1/flows", Role.VIEWER, routes_flows.show_flows),
    *GROUP_ROUTES,
    *LINE_ROUTES,
    ApiRoute("GET", "/v1/notices", Role.VIEWER, routes_notices.show_notices),
    ApiRoute("POST", "/v1/notices/bounced", Role.OPERATOR, routes_notices.bounced),
    ApiRoute("GET", "/v1/attention", Role.VIEWER, routes_notices.show_calls),
    ApiRoute("POST", "/v1/attention/answer", Role.OPERATOR, routes_notices.answer_call),
    ApiRoute("POST", "/v1/attention/close", Role.OPERATOR, routes_notices.close_call),
    ApiRoute("POST", "/v1/notice-report", Role.OPERATOR, routes_notices.import_report),
    ApiRoute("GET", "/v1/sessions", Role.VIEWER, routes_sessions.show_sessions),
    ApiRoute("POST", "/v1/sessions/at", Role.VIEWER, routes_sessions.session_at),
)


async def read_fields(request: Request) -> Fields:
    """The fields of a request: of its query string for GET, of its body otherwise."""
    if request.method in {"GET", "HEAD"}:
        return Fields(dict(request.query_params))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BadRequestError(f"the request's body is longer than {MAX_BODY} bytes; send less")
    return Fields.of_body(bytes(body))
