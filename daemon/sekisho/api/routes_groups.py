"""The routes of VPN groups.

GET    /v1/group?group=
POST   /v1/group/optouts {group, list, until, by}      DELETE {group, list, by}: `by` is the representative's customer id
"""

from __future__ import annotations

from sekisho.api.operations import Json, Operations
from sekisho.api.requests import Fields
from sekisho.api.route import ApiRoute
from sekisho.model.roles import Role


async def show_group(operations: Operations, fields: Fields, _actor: str) -> Json:
    group = fields.text("group")
    fields.end()
    return await operations.show_group(group)


async def opt_group_out(operations: Operations, fields: Fields, actor: str) -> Json:
    group, list_id = fields.text("group"), fields.text("list")
    until, by = fields.time("until"), fields.text("by")
    fields.end()
    return await operations.opt_group_out(group, list_id, until=until, by=by, actor=actor)


async def opt_group_in(operations: Operations, fields: Fields, actor: str) -> Json:
    group, list_id, by = fields.text("group"), fields.text("list"), fields.text("by")
    fields.end()
    return await operations.opt_group_in(group, list_id, by=by, actor=actor)


GROUP_ROUTES: tuple[ApiRoute, ...] = (
    ApiRoute("GET", "/v1/group", Role.VIEWER, show_group),
    ApiRoute("POST", "/v1/group/optouts", Role.OPERATOR, opt_group_out),
    ApiRoute("DELETE", "/v1/group/optouts", Role.OPERATOR, opt_group_in),
)
