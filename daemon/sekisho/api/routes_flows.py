"""Routes about traffic: who exports flow records."""

from __future__ import annotations

from sekisho.api.operations import Json, Operations
from sekisho.api.requests import Fields


async def show_flows(operations: Operations, fields: Fields, _actor: str) -> Json:
    fields.end()
    return await operations.show_flows()
