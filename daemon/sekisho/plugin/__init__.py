"""The checkpoint within a resolver: the compiled verdict on the shared tables, in the resolver's own process.

Beside `drivers` and not in it, because it runs where nothing of ours is installed: in Unbound's Python,
which is the system's. It needs the standard library, `model`, `snapshot.machinecode` and, to link the machine
code, llvmlite; no NumPy, which cannot be loaded again when a resolver reloads. `resolvers.lua`, for the resolvers that
run Lua, needs nothing but itself.

* `memory`    files mapped, sections found, views for compiled code
* `ledgers`   the plugin's own counts, matches and budgets
* `judge`     the machine code, called
* `answers`   what was found in answers, kept
* `checkpoint` the tables in force: followed, refused, absent
* `unbound`   the hooks of Unbound's Python module
"""
