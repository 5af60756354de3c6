"""dnstap: what a resolver tells of the queries that customers ask it, read as far as counting needs.

Two formats and nothing else: Frame Streams, the transport (`control`), and the few fields of `Dnstap`
that say whose query it was (`frames`). The DNS message within is never looked into.
"""
