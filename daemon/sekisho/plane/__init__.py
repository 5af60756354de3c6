"""The data plane's packet path, compiled by Numba: parse, decide, answer, cache, forward.

Owns what happens to a packet between the socket and the socket, and the verdict every transport
asks. Does not own processes, files, configuration or TCP (`drivers`, `app`). Every function is
ordinary typed Python over NumPy arrays and runs uncompiled under NUMBA_DISABLE_JIT=1; bounds are
checked in production too, and only `native` knows a pointer.
"""
