"""The sockets resolvers are asked through, and where compiled code is kept."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from sekisho.drivers import compilecache
from sekisho.drivers.compilecache import source_digest, use_compile_cache
from sekisho.drivers.upstreamsockets import open_upstream, spread
from sekisho.model.errors import UnavailableError


def test_ports_are_random_and_the_socket_takes_answers_of_its_resolver_alone() -> None:
    """RFC 5452 section 9.2."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(open_upstream("127.0.0.1", 53)) for _ in range(16)]
        ports = [one.getsockname()[1] for one in sockets]
        assert len(set(ports)) == 16
        assert max(ports) - min(ports) > 5000
        assert {one.getpeername() for one in sockets} == {("127.0.0.1", 53)}
        assert not any(one.getblocking() for one in sockets)


def test_a_resolver_that_no_route_leads_to_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"255\.255\.255\.255:53 cannot be reached"):
        open_upstream("255.255.255.255", 53)


@pytest.mark.parametrize(("resolvers", "each"), [(1, 16), (4, 16), (5, 12), (16, 4), (64, 1)])
def test_sockets_are_spread_over_resolvers(resolvers: int, each: int) -> None:
    assert spread([("192.0.2.1", 53)] * resolvers, 64) == each


def test_code_compiled_of_another_source_is_never_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("model", "snapshot", "plane", "lists"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(compilecache, "_PACKAGE", tmp_path)
    source = tmp_path / "plane" / "loop.py"
    source.write_text("one = 1\n")
    first = source_digest()
    source.write_text("one = 2\n")
    second = source_digest()
    source.rename(tmp_path / "plane" / "pool.py")
    assert len({first, second, source_digest()}) == 3
    source.write_text("one = 1\n")
    (tmp_path / "plane" / "pool.py").unlink()
    assert source_digest() == first


def test_the_folder_is_the_one_given_then_systemds_then_the_users() -> None:
    digest = source_digest()
    variants: list[tuple[dict[str, str], str]] = [
        ({"NUMBA_CACHE_DIR": "/given", "CACHE_DIRECTORY": "/var/cache/sekisho", "HOME": "/home/a"}, "/given"),
        ({"CACHE_DIRECTORY": "/var/cache/sekisho:/other", "HOME": "/home/a"}, "/var/cache/sekisho"),
        ({"XDG_CACHE_HOME": "/cache", "HOME": "/home/a"}, "/cache/sekisho"),
        ({"HOME": "/home/a"}, "/home/a/.cache/sekisho"),
        ({}, "/var/cache/.cache/sekisho"),
    ]
    for environ, expected in variants:
        assert use_compile_cache(environ) == Path(expected) / digest
        assert use_compile_cache(environ) == Path(expected) / digest, "said once, for children too"
        assert environ["NUMBA_CACHE_DIR"] == str(Path(expected) / digest)
