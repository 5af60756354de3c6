"""The shared tables: their file layout, how they are compiled, and how a reader maps them.

Owns the bytes the control plane and the data plane meet in (`FORMAT.md`), the keyed digest of a
name, and the compilation of lists, rules and customers into tables. Does not own what a table is
read for (`plane`), nor where the files lie or when they are swapped (`drivers`).
"""
