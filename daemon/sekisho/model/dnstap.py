"""What became of what resolvers told over dnstap: closed sets."""

from __future__ import annotations

import enum


class Tally(enum.IntEnum):
    """What became of frames: places in an array of counts."""

    COUNTED = 0
    """Queries of customers,"""
    RESPONDED = 1
    """and their responses."""
    NOBODY = 2
    """Queries and responses of addresses that are no customer's."""
    OTHER = 3
    """Messages that are not of clients, or not those that are counted."""
    ADDRESSLESS = 4
    """Lost: no address, or one that is not of its family."""
    DAMAGED = 5
    """Lost: no `Dnstap` message."""


class Ended(enum.StrEnum):
    """Why a connection ended."""

    STOPPED = "stopped"
    """Its sender said so."""
    CUT = "cut"
    """Without a word; what had been sent of a frame is lost."""
    REFUSED = "refused"
    """It offered another content type."""
    DAMAGED = "damaged"
    """A control frame that is none, or not one of a sender at that place."""
    OVERSIZED = "oversized"
    """A frame longer than any resolver's."""
    SILENT = "silent"
    """It did not begin in time."""
    CROWDED = "crowded"
    """There were as many connections as may be."""
    CLOSED = "closed"
    """The daemon stopped listening."""
