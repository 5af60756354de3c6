"""The operator's API: JSON over HTTP/1.1 on a Unix socket.

Owns the routes, what a request must look like, how errors are told, who the caller is
(`SO_PEERCRED`, `SO_PEERGROUPS`) and which role each route needs. Does not own what an operation does: that is the `Operations` it is given.
"""
