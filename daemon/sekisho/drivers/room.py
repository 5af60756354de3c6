"""Whether a folder's file system takes anything: asked by writing a page into a file that has no name and is gone at once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_PAGE = bytes(4096)
_SAID = {
    errno.EROFS: "is on a file system that is read-only; the kernel says why (`dmesg`): mend that, and have it writable again",
    errno.ENOSPC: "has no room left; make some",
    errno.EDQUOT: "has no room left in its quota; make some",
    errno.EACCES: "cannot be written; make it writable for the daemon",
}
_UNABLE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})
"""A file system without such files. It may still say by itself that it is read-only."""


def trouble(folder: Path) -> str | None:
    """Why nothing can be kept in `folder`, and what to do; None as long as it can.

    A file system the kernel has shut after an error need not tell (statvfs(3)) that it is read-only: only a write meets it.
    """
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, _PAGE)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNABLE:
            return f"{folder} {_SAID.get(error.errno or 0, f'cannot be used ({error.strerror}); put it back')}"
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return f"{folder} {_SAID[errno.EROFS]}"
    return None
