"""Flow records, as far as they are told about: the reasons for which packets of exporters are of no use."""

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
