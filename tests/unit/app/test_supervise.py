"""`sekisho run`: addresses bound once, processes told where everything is."""

from __future__ import annotations

from pathlib import Path

from sekisho.app.supervise import compile_cache


def test_the_compile_cache_is_systemds_else_the_users() -> None:
    assert compile_cache({"CACHE_DIRECTORY": "/var/cache/sekisho"}) == Path("/var/cache/sekisho/compiled")
    assert compile_cache({"XDG_CACHE_HOME": "/x"}) == Path("/x/sekisho/compiled")
    assert compile_cache({"HOME": "/home/op"}) == Path("/home/op/.cache/sekisho/compiled")
