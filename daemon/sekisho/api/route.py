"""What a route is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sekisho.api.operations import Json, Operations
from sekisho.api.requests import Fields
from sekisho.model.roles import Role

Endpoint = Callable[[Operations, Fields, str], Awaitable[Json]]


class ApiRoute(NamedTuple):
    """One method of one path, and the role whoever asks it must have."""

    method: str
    path: str
    role: Role
    endpoint: Endpoint
