"""Measures: what happens to one from its finding to its end, and what all of a customer's amount to.

Owns the life cycle (`lifecycle`), who is told what of it (`occasions`), how measures combine (`combine`), lengths of time
as terms documents say them (`calendar`), the lead time of announcements (`announcing`) and the credit for an outage
(`credits`). Pure functions of their arguments and `now`; what records, enforces and tells is `app`'s.
"""
