"""The embedded deployment as a whole: the real command, real processes, real sockets."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient

from deploy.local.data_directory import kept
from deploy.local.routing import SERVICES, service_of
from deploy.local.seed import DEMO_EVENT
from deploy.local.stack import Stack, StackFailed, listening
from deploy.local.supervisor import ROOT

KEY = {"x-proxy-key": "dev-proxy"}


async def up(*arguments: str) -> tuple[int | None, str, str]:
    """The command's exit code, stdout and stderr, where it ends by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local", "up", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return process.returncode, out.decode(), error.decode()


async def get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url) as reply:
        assert reply.status == 200, await reply.text()
        body: dict[str, Any] = await reply.json()
        return body


async def demo_event(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", stack.urls["firestore"])
    client = AsyncClient(project=stack.urls["project"], credentials=AnonymousCredentials())
    found = (await client.collection("events").document(DEMO_EVENT).get()).to_dict()
    await client._firestore_api.transport.close()
    return found or {}


async def everything_listens(stack: Stack) -> dict[str, bool]:
    return {name: await listening(url) for name, url in stack.urls.items() if name != "project"}


def is_empty(directory: Path) -> bool:
    return not list(directory.iterdir())


def exists(path: str) -> bool:
    return Path(path).exists()


def child_of(parent: int, word: str) -> int:
    """The process that ``parent`` started with ``word`` in its command line."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            ppid = int(stat.read_text().rpartition(")")[2].split()[1])
            if ppid == parent and word in (stat.parent / "cmdline").read_text():
                return int(stat.parent.name)
        except OSError:
            continue  # it ended while we looked
    raise AssertionError(f"{parent} has no child {word}")


async def routes_lead_to_their_service(session: aiohttp.ClientSession, stack: Stack) -> None:
    for service in SERVICES:
        described = await get(session, f"{stack.urls[service]}/openapi.json")
        assert {service_of(path) for path in described["paths"]} <= {service}


async def every_route_needs_the_key(session: aiohttp.ClientSession, stack: Stack) -> None:
    for service in SERVICES:
        described = await get(session, f"{stack.urls[service]}/openapi.json")
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                if "proxyKey" in operation["security"][0]:
                    for headers in ({}, {"x-proxy-key": "wrong"}):
                        url = stack.urls["gateway"] + path.replace("{", "").replace("}", "")
                        async with session.request(method, url, headers=headers) as reply:
                            assert reply.status == 403, f"{method} {path}"


async def test_the_system_comes_up_whole_survives_kill_9_and_stops_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(data_dir=tmp_path / "data")
    await stack.start()
    try:
        assert set(stack.urls) == {*SERVICES, "gateway", "firestore", "stripe", "mailbox", "project"}
        async with aiohttp.ClientSession() as session:
            assert (await get(session, f"{stack.urls['gateway']}/ready"))["checks"] == dict.fromkeys(SERVICES, "ok")
            assert (await get(session, f"{stack.urls['gateway']}/health"))["stripeConfigured"]
            await routes_lead_to_their_service(session, stack)
            await every_route_needs_the_key(session, stack)
        event = await demo_event(stack, monkeypatch)
        assert (event["quantity"], event["seededQuantity"]) == (500, 500)

        code, out, error = await up("--base-port", "0", "--data-dir", str(tmp_path / "data"))
        assert (code, out) == (1, "")
        signature = f"(process {stack.process.pid}, {stack.urls['gateway']})"
        assert f"Another system runs on {tmp_path / 'data'} {signature}" in error

        os.kill(stack.process.pid, signal.SIGKILL)  # of the launcher alone: the others must not stay behind
        await stack.kill()
        assert not any((await everything_listens(stack)).values())

        await stack.start()
        assert (await demo_event(stack, monkeypatch))["dateTime"] == event["dateTime"]
        await stack.stop()
        assert not any((await everything_listens(stack)).values())
    finally:
        await stack.kill()
    logged = {path.name for path in (tmp_path / "data" / "logs").iterdir()}
    assert {f"{name}.log" for name in (*SERVICES, "gateway", "firestore", "stripe", "mailbox")} <= logged


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the child in /proc")
async def test_when_a_part_ends_by_itself_the_system_stops_says_so_and_leaves_its_logs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stack = Stack()
    await stack.start()
    try:
        os.kill(child_of(stack.process.pid, "services.scanning"), signal.SIGKILL)
        with pytest.raises(StackFailed, match="exit code 1"):
            await stack.ended()
    finally:
        await stack.kill()
    said = capfd.readouterr().err
    assert "scanning was ended by signal 9; its log is" in said
    assert exists(said.rpartition("its log is ")[2].strip())


async def test_a_busy_port_is_a_sentence_and_nothing_is_started() -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        code, out, error = await up("--base-port", str(port), "--ephemeral")
    assert (code, out) == (1, "")
    assert error.startswith(f"Port {port} (for gateway) cannot be used")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--base-port", "-5"), "-5 is not a port from 1 to 65528, or 0 for any free ones"),
        (("--base-port", "65533"), "65533 is not a port from 1 to 65528, or 0 for any free ones"),
        (("--base-port", "0", "--data-dir", __file__), f"{__file__} cannot hold the data: it is a file."),
        (("--base-port", "0", "--data-dir", f"{__file__}/x"), f"{__file__}/x cannot hold the data: Not a directory."),
    ],
)
async def test_what_cannot_be_used_is_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    code, out, error = await up(*arguments)
    assert code in {1, 2}
    assert out == ""
    assert sentence in error
    assert "Traceback" not in error


async def test_a_wrong_port_is_told_before_a_directory_in_use(tmp_path: Path) -> None:
    with kept(tmp_path):
        _, _, error = await up("--base-port", "70000", "--data-dir", str(tmp_path))
    assert "70000 is not a port" in error
    assert "Another system" not in error


async def test_an_interrupt_during_the_start_stops_what_was_started(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local", "up", "--base-port", "0", "--ephemeral"),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    while b"firestore: ready" not in await process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    assert b"stopping" in await process.stderr.read()
    assert await process.wait() == 0
    assert is_empty(tmp_path)


async def test_a_person_at_a_terminal_is_told_where_to_go_and_how_to_stop(tmp_path: Path) -> None:
    terminal, its_end = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local", "up", "--base-port", "0", "--ephemeral"),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=its_end,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(its_end)
    assert process.stderr
    while (line := await process.stderr.readline()) and not line.startswith(b"Open http://127.0.0.1:"):
        pass
    assert line.endswith(b"in a browser; Ctrl-C stops the system.\n")
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
    os.close(terminal)
    assert is_empty(tmp_path)


async def test_an_early_failure_leaves_no_directory_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        code, _, _ = await up("--base-port", str(port), "--ephemeral")
    assert code == 1
    assert is_empty(tmp_path)


async def test_an_interrupted_demo_says_so_in_a_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.demo"),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr
    while not (await process.stdout.readline()).startswith(b"Starting"):
        pass
    while b"firestore: ready" not in await process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    said = (await process.stderr.read()).decode()
    assert await process.wait() == 130
    assert said.endswith("The demo was interrupted; what it had started is stopped.\n")
    assert "Traceback" not in said
    assert is_empty(tmp_path)
