"""A calendar without holidays, for tests of what is not the calendar: days of 24 hours, months of 30."""

from __future__ import annotations

from sekisho.model.measures import Unit

SECONDS = {Unit.SECONDS: 1.0, Unit.DAYS: 86400.0, Unit.BUSINESS_DAYS: 86400.0, Unit.MONTHS: 30 * 86400.0}


class PlainCalendar:
    def ends(self, span, start):
        return start + span.amount * SECONDS[span.unit]

    def starts(self, span, end):
        return end - span.amount * SECONDS[span.unit]


PLAIN = PlainCalendar()
