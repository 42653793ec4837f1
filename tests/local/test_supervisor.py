"""The supervisor with the standard library's web server as its parts."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from deploy.local.addresses import HOST, OFFSETS, Addresses, PortInUse
from deploy.local.parts import PASSED_ON, Part, service_environment
from deploy.local.stack import listening
from deploy.local.supervisor import ROOT, PartFailed, Supervisor, ended

PORTS = Addresses.from_base(0).ports


def web_server(name: str, port: int, *arguments: str) -> Part:
    arguments = (str(port), "--bind", HOST, *arguments)
    return Part(name, "http.server", arguments, port, f"http://{HOST}:{port}/")


@asynccontextmanager
async def child_process(parent: int, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.child", str(parent), "http.server", str(port), "--bind", HOST),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def until(port: int, *, open_: bool) -> None:
    while await listening(f"{HOST}:{port}") != open_:
        await asyncio.sleep(0.02)


async def test_parts_start_together_answer_and_stop_the_highest_layer_first(tmp_path: Path) -> None:
    low, high = web_server("low", PORTS["checkout"]), web_server("high", PORTS["scanning"])
    supervisor = Supervisor(tmp_path)
    await supervisor.start([low, high])
    async with aiohttp.ClientSession() as session, session.get(str(high.ready_url)) as reply:
        assert reply.status == 200
    stopping = asyncio.create_task(supervisor.stop([[low], [high]]))
    first = await supervisor.first_to_end()
    assert first.part is high
    await stopping
    assert not await listening(f"{HOST}:{low.port}")


async def test_a_part_that_cannot_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    broken = web_server("broken", PORTS["social"], "--no-such-option")
    with pytest.raises(PartFailed) as failed:
        await Supervisor(tmp_path).start([broken])
    text = str(failed.value)
    assert "broken | " in text
    assert "unrecognized arguments: --no-such-option" in text
    assert f"broken ended with exit code 2; its log is {tmp_path / 'broken.log'}" in text


async def test_a_part_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    parts = [web_server("one", PORTS["stripe"]), web_server("two", PORTS["mailbox"])]
    supervisor = Supervisor(tmp_path)
    await supervisor.start(parts)
    watching = asyncio.create_task(supervisor.first_to_end())
    supervisor.children[1].process.kill()
    child = await watching
    assert "two was ended by signal 9" in str(ended(child))
    await supervisor.stop([parts])


async def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    part = web_server("one", PORTS["stripe"])
    for _ in range(2):
        supervisor = Supervisor(tmp_path)
        await supervisor.start([part])
        await supervisor.stop([[part]])
    assert names(tmp_path) == {"one.log", "one.previous.log"}


async def test_a_child_ignores_ctrl_c_and_stops_on_sigterm() -> None:
    port = PORTS["gateway"]
    async with child_process(os.getpid(), port) as process:
        await until(port, open_=True)
        process.send_signal(signal.SIGINT)
        async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/") as reply:
            assert reply.status == 200
        process.terminate()
        assert await process.wait() == -signal.SIGTERM


async def test_a_child_ends_when_its_parent_no_longer_holds_its_input() -> None:
    port = PORTS["gateway"]
    async with child_process(os.getpid(), port) as process:
        await until(port, open_=True)
        assert process.stdin
        process.stdin.close()
        assert await process.wait() == -signal.SIGKILL


async def test_a_child_whose_parent_is_gone_already_does_not_start() -> None:
    async with child_process(2**30, PORTS["gateway"]) as process:
        assert await process.wait() == -signal.SIGKILL


def test_free_ports_are_different_ones() -> None:
    assert len(set(PORTS.values())) == len(OFFSETS)


async def test_a_busy_port_is_named_with_what_to_do() -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, HOST, 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        with pytest.raises(PortInUse, match=rf"Port {port} \(for gateway\).*--base-port 0"):  # the first it tries
            Addresses.from_base(port)


def test_nothing_of_a_real_system_reaches_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = Addresses(PORTS)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/real.json")
    monkeypatch.setenv("STRIPE_SECRET", "sk_live_real")
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "elsewhere:1")
    monkeypatch.setenv("PROXY_KEY", "a,b")
    environment = service_environment(addresses)
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in environment
    assert environment["STRIPE_SECRET"] == "sk_test_local"
    assert environment["FIRESTORE_EMULATOR_HOST"] == addresses.firestore
    assert environment["PROXY_KEY"] == "a,b"


def test_every_documented_variable_reaches_the_parts_is_set_here_or_belongs_to_a_real_system() -> None:
    example = (ROOT / ".env.example").read_text()
    documented = {name for name, found, _ in (line.partition("=") for line in example.splitlines()) if found}
    documented = {name for name in documented if not name.startswith("#")}
    real = {"FIREBASE_DATABASE_URL"}
    told_one_by_one = {"PORT"}
    assert documented - PASSED_ON - service_environment(Addresses(PORTS)).keys() == real | told_one_by_one
