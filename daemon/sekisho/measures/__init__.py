"""Measures: what happens to one from its finding to its end, and what all of a customer's amount to.

Owns the life cycle (`lifecycle`), who is told what of it (`occasions`), how measures combine (`combine`) and
the lead time of announcements (`announcing`). Pure functions of their arguments and `now`; what records,
enforces and tells is `app`'s.
"""
