"""Files an operator wrote, into frozen typed values - or every fault at once, with file and line.

Takes text and a file name for messages, never a file: reading is `drivers.site`'s.
"""
