"""Real clients over TCP, dig and kdig, with Unbound behind the checkpoint."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.model.counters import Counter
from support import free_port, require_binary, wait_until
from support.tcp import CLAUSE, CUSTOMER, OTHER, SILENCED, STRANGER, Checkpoint, asking, make_context, query, serving

pytestmark = pytest.mark.peers

UNBOUND = """
server:
    directory: "{folder}"
    pidfile: "{folder}/unbound.pid"
    chroot: ""
    username: ""
    use-syslog: no
    logfile: "{folder}/log"
    interface: 127.0.0.1@{port}
    interface: 127.0.0.1@{proxy}
    proxy-protocol-port: {proxy}
    num-threads: 1
    incoming-num-tcp: 16
    do-not-query-localhost: no
    module-config: "iterator"
    access-control: 127.0.0.0/8 allow
    access-control-view: {other}/32 "other"
    local-zone: "example.com." static
    local-data: "www.example.com. 300 IN A 198.51.100.7"
    local-data: "www.example.com. 300 IN AAAA 2001:db8::7"
    local-data: "example.com. 300 IN SOA ns.example.com. host.example.com. 1 3600 600 86400 60"
    {numbers}
    {texts}
    local-zone: "target.test." static
    local-data: "target.test. 300 IN A 203.0.113.9"
view:
    name: "other"
    local-zone: "example.com." static
    local-data: "www.example.com. 300 IN A 198.51.100.8"
remote-control:
    control-enable: no
"""


class Unbound:
    def __init__(self, folder: Path) -> None:
        self.port, self.proxy = free_port(), free_port()
        numbers = "\n    ".join(f'local-data: "n{one}.example.com. 300 IN A 198.51.100.{one}"' for one in range(100))
        texts = "\n    ".join(f'local-data: "large.example.com. 300 IN TXT {one:03}{"x" * 240}"' for one in range(60))
        config = folder / "unbound.conf"
        config.write_text(UNBOUND.format(folder=folder, port=self.port, proxy=self.proxy, other=OTHER, numbers=numbers, texts=texts))
        self.process = subprocess.Popen([require_binary("unbound"), "-d", "-c", str(config)], stderr=subprocess.DEVNULL)
        wait_until(lambda: "start of service" in (folder / "log").read_text() if (folder / "log").exists() else "", what="Unbound")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="module")
def unbound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unbound]:
    server = Unbound(tmp_path_factory.mktemp("unbound"))
    yield server
    server.stop()


@pytest.fixture
def context(tmp_path: Path) -> TcpContext:
    return make_context(tmp_path)


async def run_client(program: str, *arguments: str) -> str:
    """What a client prints on its way to whatever exit."""
    process = await asyncio.create_subprocess_exec(
        require_binary(program), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


def checkpoint(context: TcpContext, port: int, story: Callable[[Checkpoint], Awaitable[Any]], settings: TcpSettings | None = None) -> None:
    async def run() -> None:
        async with serving(context, [("127.0.0.1", port)], settings) as point:
            await story(point)

    asyncio.run(run())


def test_dig_is_answered_over_tcp(context: TcpContext, unbound: Unbound) -> None:
    async def story(point: Checkpoint) -> None:
        to = ("+tcp", "@127.0.0.1", "-p", str(point.port), "-b", CUSTOMER)
        assert (await run_client("dig", *to, "+short", "www.example.com", "AAAA")).strip() == "2001:db8::7"
        missing = await run_client("dig", *to, "nothing.example.com")
        assert "NXDOMAIN" in missing
        assert "SOA" in missing
        assert "NOERROR" in await run_client("dig", *to, "www.example.com", "ANY")

    checkpoint(context, unbound.port, story)


def test_dig_sees_the_clause_of_a_blocked_name(context: TcpContext, unbound: Unbound) -> None:
    async def story(point: Checkpoint) -> None:
        to = ("+tcp", "@127.0.0.1", "-p", str(point.port))
        blocked = await run_client("kdig", *to, "-b", CUSTOMER, "+edns", "c2.bad.example")
        assert "NXDOMAIN" in blocked
        assert CLAUSE in blocked
        chased = await run_client("kdig", *to, "-b", CUSTOMER, "+short", "chase.example")
        assert chased.split() == ["target.test.", "203.0.113.9"]
        assert "REFUSED" in await run_client("dig", *to, "-b", STRANGER, "www.example.com")
        assert "timed out" in await run_client("dig", *to, "-b", SILENCED, "+time=1", "+tries=1", "www.example.com")

    checkpoint(context, unbound.port, story)


def test_kdig_asks_many_questions_on_one_connection(context: TcpContext, unbound: Unbound) -> None:
    async def story(point: Checkpoint) -> None:
        names = [f"n{one}.example.com" for one in range(1, 40)]
        answers = await run_client("kdig", "+tcp", "+keepopen", "+short", "@127.0.0.1", "-p", str(point.port), "-b", CUSTOMER, *names)
        assert answers.split() == [f"198.51.100.{one}" for one in range(1, 40)]
        assert point.count(Counter.TCP_CONNECTIONS) == 1

    checkpoint(context, unbound.port, story)


def test_a_hundred_queries_at_once_are_each_given_their_answer(context: TcpContext, unbound: Unbound) -> None:
    async def story(point: Checkpoint) -> None:
        import dns.message

        async with asking(point.port) as asker:
            await asker.send(*(query(f"n{one}.example.com", identity=one) for one in range(100)))
            for _ in range(100):
                answer = dns.message.from_wire(await asker.take())
                assert answer.answer[0][0].to_text() == f"198.51.100.{answer.id}"
        assert point.count(Counter.UPSTREAM_MISMATCHED) == 0

    checkpoint(context, unbound.port, story)


def test_a_long_answer_comes_whole(context: TcpContext, unbound: Unbound) -> None:
    async def story(point: Checkpoint) -> None:
        answers = await run_client("dig", "+tcp", "+short", "@127.0.0.1", "-p", str(point.port), "-b", CUSTOMER, "large.example.com", "TXT")
        assert len(answers.split()) == 60

    checkpoint(context, unbound.port, story)


def test_unbound_is_told_who_asks(context: TcpContext, unbound: Unbound) -> None:
    async def story(point: Checkpoint) -> None:
        to = ("+tcp", "+short", "@127.0.0.1", "-p", str(point.port), "www.example.com")
        assert (await run_client("dig", *to, "-b", CUSTOMER)).strip() == "198.51.100.7"
        assert (await run_client("dig", *to, "-b", OTHER)).strip() == "198.51.100.8"

    checkpoint(context, unbound.proxy, story, TcpSettings(proxy_protocol=True))


def test_a_resolver_that_restarts_is_found_again(context: TcpContext, tmp_path: Path) -> None:
    first = Unbound(tmp_path)

    async def story(point: Checkpoint) -> None:
        async with asking(point.port) as asker:
            assert (await asker.ask("www.example.com")).answer
            first.stop()
            assert not (await asker.ask("www.example.com")).answer
            again = await asyncio.create_subprocess_exec(
                require_binary("unbound"), "-d", "-c", str(tmp_path / "unbound.conf"), stderr=asyncio.subprocess.DEVNULL
            )
            try:
                async with asyncio.timeout(60):
                    while not (await asker.ask("www.example.com")).answer:
                        await asyncio.sleep(0.05)
            finally:
                again.terminate()
                await again.wait()

    try:
        checkpoint(context, first.port, story)
    finally:
        first.process.kill()
        first.process.wait(60)


def test_no_name_that_matched_nothing_is_told_to_any_log(context: TcpContext, unbound: Unbound, tmp_path: Path) -> None:
    """Clauses gunma/29, nbnet/42 and vectant/33: secrecy of communications."""
    program = f"""
import asyncio, logging, sys
logging.basicConfig(level=logging.DEBUG)
from pathlib import Path
from sekisho.drivers.tcpcontext import TcpSettings
from support.tcp import asking, make_context, query, serving
async def main():
    context = make_context(Path({str(tmp_path / "tables")!r}))
    async with serving(context, [("127.0.0.1", {unbound.port}), ("127.0.0.1", 1)], TcpSettings(timeout=20)) as point:
        for broken in (b"", b"\\x00\\x80marked", query("marked.example.com")[:-3]):
            async with asking(point.port) as asker:
                assert (await asker.ask("marked.example.com")).rcode() == 3
                await asker.send(broken)
        await point.settled(lambda: point.server.connections == 0)
asyncio.run(main(), debug=True)
"""
    paths = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("daemon", "tests")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "asyncio" in done.stderr, "debug logging is on"
    assert "marked" not in (done.stdout + done.stderr).replace(program, "")
