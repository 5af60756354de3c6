"""Measures: from a finding to what is done, said and recorded, as pure functions of state, event and time.

Owns which notice goes where and when it counts as delivered (`notices`), what it says (`texts`), what
a delivery report means (`bounces`) and what a report of addresses holds (`reports`). Does not own how a
notice is handed over (`drivers`) nor the record (`ledger`).
"""
