"""`python -m support.fuzzing`: fuzz for a time or a count, replay one input, or minimise the corpus.

    fuzz [--target NAME ...] [--seconds S] [--packets N] [--seed N]   N packets: through each compiled target named
    replay TARGET HEX [--choice N]
    minimise [--target NAME ...]        with NUMBA_DISABLE_JIT=1: lines of the source count as features too

What fails is written to tests/fuzz/crashes, and the command that repeats it is printed. Exits 1 then.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Numba reads this at its first import, and reads the floor of NumPy's warnings from us.
sys.path[:0] = [str(Path(__file__).resolve().parents[3] / "daemon")]
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).resolve().parents[3] / ".cache" / "numba"))

from sekisho.drivers.compilecache import use_compile_cache  # noqa: E402

use_compile_cache()

from support.fuzzing.run import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
