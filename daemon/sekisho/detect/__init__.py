"""Counts to findings: who asks far more than the population does, while the name servers suffer (`nbnet/22-2-5`).

Pure: arrays and figures in, findings out. Who reads the counts is `drivers`; who acts on findings, `measures`.
"""
