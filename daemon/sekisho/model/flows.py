"""Flow records, as far as they are told about: why packets of exporters are of no use, and what became of blocks of ports."""

from __future__ import annotations

import enum


class FlowFault(enum.StrEnum):
    """Why a packet, or a part of one, was not used. At most sixteen."""

    STRANGER = "stranger"
    """It came from an address that is no exporter's."""
    VERSION = "version"
    """It is neither NetFlow v5, v9 nor IPFIX."""
    SHORT = "short"
    """It ends within its header, or before the last record its header counts."""
    LENGTH = "length"
    """It has another length than it says."""
    SET = "set"
    """A set in it has no possible length."""
    TEMPLATE = "template"
    """A template in it cannot be: an id below 256, no fields, or more than fit."""
    RECORD = "record"
    """A record in it goes on beyond its set."""
    OCTETS = "octets"
    """A record counts more octets than any flow has; the others of the packet are used."""
    FULL = "full"
    """There is no room for another session or template."""


class BlockOutcome(enum.StrEnum):
    """What became of a record of a NAT's events."""

    TAKEN = "taken"
    """A block of ports that was allocated, told of again or taken back: it is in force, and on record."""
    UNKNOWN = "unknown"
    """The same, and the inside address was no customer's whom we know: its ports are nobody's."""
    LATE = "late"
    """Something later is known of the ports, or it was told before."""
    HELD = "held"
    """The outside address is a customer's own, or accounting says whose its ports are: that goes first."""
    CLOCK = "clock"
    """It is of the future, or more than an hour old: the exporter's clock is wrong."""
    REALM = "realm"
    """It is of a network whose inside addresses are not this site's customers'."""
    UNUSABLE = "unusable"
    """It does not say which ports, or not in one range."""
    LOST = "lost"
    """There was no room for it."""
    PASSED = "passed"
    """Of a single session, or of an exporter that is not said to report blocks: nothing of it is kept."""
