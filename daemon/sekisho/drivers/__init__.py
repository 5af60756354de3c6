"""Everything that touches the world: files, sockets, clocks, other servers, the kernel."""
