"""How `sekishod` and `sekisho-plane` end, by the numbers of sysexits.h(3): what started them goes by it.

The units and `sekisho run` start again whatever ended otherwise than it was told to: CRASHED at once, the other two
after a pause, since they would come to the same a moment later. `sekisho run` gives a refused configuration up, and ends as what it
started did.
"""

from __future__ import annotations

STOPPED = 0
"""As told."""
CRASHED = 70
"""EX_SOFTWARE: what nobody foresaw, and a fault after the process was ready."""
PASSING = 75
"""EX_TEMPFAIL: the machine did not let it start: a full disk, an address that is taken, a folder that cannot be written."""
REFUSED = 78
"""EX_CONFIG: faults in the configuration, each told; only a person can mend them."""
