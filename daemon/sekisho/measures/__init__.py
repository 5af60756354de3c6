"""Measures: lengths of time as terms documents say them, and the credit for an outage. Pure functions of their arguments."""
