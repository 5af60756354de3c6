"""The ledger: an append-only, hash-chained record of acts, and the state that is its fold.

Owns how an act is written down, how the chain is computed and checked, and what a sequence of
acts amounts to. Does not own where the record lies or when it is on disk (`drivers.ledger`).
"""
