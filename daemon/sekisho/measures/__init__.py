"""Measures: from a finding to what is done, said and recorded, as pure functions of their arguments and `now`.

Owns the life cycle (`lifecycle`), who is told what of it (`occasions`), how measures combine (`combine`), lengths of time
as terms documents say them (`calendar`), the lead time of announcements (`announcing`) and the credit for an outage
(`credits`); which notice goes where and when it counts as delivered (`notices`), what it says (`texts`), what a delivery
report means (`bounces`) and what a report of addresses holds (`reports`). What records, enforces, tells and hands over is
`app`'s and `drivers`'s.
"""
