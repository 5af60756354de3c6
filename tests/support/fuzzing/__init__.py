"""The fuzzer: mutants of kept inputs through the compiled code, guided by what came of them.

Compiled code cannot be traced for branches, so the guide is its outcome. What one input came to is
put as numbers - the code of the parser, the labels, lengths by powers of two, the shape of the EDNS
part, the step of the verdict, the counters that moved, what was written and kept - and each number
sets a bit of a map (`features`). An input that sets a new bit joins the pool from which mutants are
made, and at the end the corpus. Uncompiled, lines are traced too, and choose what the corpus keeps.

No outcome is believed because nothing crashed: `oracles` says of each packet what the RFCs let it
come to. A target gives the `judge` of one input, and a `burst` of many.
"""
