"""Block lists: bytes of a feed in, a compiled list and a report out.

Owns the formats (a module each), the guards against over-blocking, and the sealing of
confidential lists. Pure: what fetches and keeps lists lives in `drivers`. Does not own what an
entry does to a query (`plane`) nor how lists are brought together (`snapshot`).
"""
