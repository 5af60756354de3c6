"""Flow records (NetFlow v5, v9, IPFIX) to sums by address: compiled decoding, no socket."""
