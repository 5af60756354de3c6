"""The command line: `sekisho VERB`, a client of the daemon's socket.

Owns verbs, options, help texts, what a person reads and the exit codes: 0 done, 1 refused or
failed, 2 usage, of `run` those of the processes. Does not own what an operation does (`app`), and imports nothing heavy for verbs
that only ask the daemon.
"""
