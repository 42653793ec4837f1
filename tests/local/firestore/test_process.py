"""The server as a process: started, stopped, killed, carried elsewhere."""

import asyncio
import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1 import AsyncClient, FieldFilter, Increment

from deploy.local.firestore.storage import Storage
from deploy.local.firestore.transfer import UnreadableLine, export_lines, import_lines
from tests.support.firestore_process import connected, running

ROOT = "projects/demo-test/databases/(default)/documents"
COMMAND = [sys.executable, "-m", "deploy.local.firestore"]
KILLS = int(os.environ.get("FIRESTORE_KILLS", "4"))


PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""An environment in which Python takes text for ASCII."""
LONG_AGO = {"createTime": "2026-01-01T00:00:00Z", "updateTime": "2026-01-01T00:00:00Z"}


async def run(*arguments: str, given: bytes = b"", environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    output, errors = await asyncio.wait_for(process.communicate(given), timeout=30)
    return process.returncode or 0, output.decode(), errors.decode()


async def test_it_stops_cleanly_and_finds_everything_again(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, host), connected(host) as client:
        await client.document("c/a").set({"n": 1})
    assert process.returncode == 0
    async with running(tmp_path) as (_, host), connected(host) as client:
        assert (await client.document("c/a").get()).to_dict() == {"n": 1}


async def test_a_second_process_on_the_same_directory_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async with running(tmp_path):
        code, _, errors = await run("--data-dir", str(tmp_path), "--port", "0")
    assert code == 1
    assert errors.startswith("Another process is using")
    assert "Traceback" not in errors


async def test_a_port_that_is_taken_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as (_, host):
        code, _, errors = await run("--data-dir", str(tmp_path / "two"), "--port", host.rpartition(":")[2])
    assert code == 1
    assert errors.splitlines()[-1].startswith("Cannot listen on 127.0.0.1")


async def test_export_and_import_carry_everything_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path / "here") as (_, host), connected(host) as client:
        await client.document("c/a").set({"n": 1, "text": "Zoë", "list": [None, {"x": b"\xff"}], "nan": float("nan")})
        await client.document("c/a/d/b").set({"ref": client.document("c/a")})
        before = await client.document("c/a").get()
    _, lines, _ = await run("export", "--data-dir", str(tmp_path / "here"))
    assert len(lines.splitlines()) == 2
    _, _, said = await run("import", "--data-dir", str(tmp_path / "there"), given=lines.encode())
    assert said == "2 documents imported\n"
    assert (await run("export", "--data-dir", str(tmp_path / "there")))[1] == lines
    async with running(tmp_path / "there") as (_, host), connected(host) as client:
        after = await client.document("c/a").get()
        assert (after.create_time, after.update_time) == (before.create_time, before.update_time)
        assert [each.id for each in await client.collection("c").where(filter=FieldFilter("n", "==", 1)).get()] == ["a"]


async def test_export_and_import_need_no_locale(tmp_path: Path) -> None:
    document = {"name": f"{ROOT}/c/é\u2028", "fields": {"a": {"stringValue": "Zoë \U0001f389"}}, **LONG_AGO}
    given = json.dumps(document, ensure_ascii=False, sort_keys=True).encode() + b"\n"
    assert (await run("import", "--data-dir", str(tmp_path), given=given, environment=PLAIN_C))[
        2
    ] == "1 documents imported\n"
    code, exported, _ = await run("export", "--data-dir", str(tmp_path), environment=PLAIN_C)
    assert code == 0
    assert exported.encode() == given


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"name": "x"}', "names no document"),
        (b"{", "Failed to load JSON"),
        (b'{"name": "\xff"}', "utf-8"),
        (
            json.dumps({"name": f"{ROOT}/c/a", "fields": {"a": {"stringValue": "x" * 1_048_488}}}).encode(),
            "longer than",
        ),
        (json.dumps({"name": f"{ROOT}/c/a", "fields": {"__a__": {"nullValue": None}}}).encode(), "reserved"),
        (json.dumps({"name": f"{ROOT}/c/a", "createTime": "2999-01-01T00:00:00Z"}).encode(), "in the future"),
        (json.dumps({"name": f"{ROOT}/c/a", "updateTime": "2999-01-01T00:00:00Z"}).encode(), "in the future"),
    ],
)
async def test_a_line_that_no_client_could_have_written_is_named_and_nothing_is_stored(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    storage = Storage(tmp_path)
    with pytest.raises(UnreadableLine, match=f"Line 2 is not an exported document: .*{reason}"):
        import_lines(storage, [b"\n", line + b"\n"])
    assert not list(export_lines(storage))
    storage.close()


async def test_a_bad_line_is_told_without_a_traceback(tmp_path: Path) -> None:
    code, _, errors = await run("import", "--data-dir", str(tmp_path), given=b'\n{"name": "x"}\n')
    assert code == 1
    assert errors.startswith("Line 2 is not an exported document")
    assert "Traceback" not in errors


async def write_until_killed(client: AsyncClient, worker: int, acknowledged: dict[int, int]) -> None:
    """Every step is one commit of two documents; counts the steps that were acknowledged."""
    with suppress(exceptions.GoogleAPICallError, exceptions.RetryError):
        while True:
            step = acknowledged.get(worker, 0) + 1
            batch = client.batch()
            batch.set(client.document(f"workers/{worker}"), {"step": step})
            batch.set(client.document("total/all"), {"steps": Increment(1)}, merge=True)
            batch.set(client.document(f"steps/{worker}-{step}"), {})
            await batch.commit(retry=None, timeout=5)
            acknowledged[worker] = step


async def check(client: AsyncClient, acknowledged: dict[int, int]) -> None:
    """Nothing acknowledged is missing, and no commit is there by half."""
    steps = {each.id: each.get("step") async for each in client.collection("workers").stream()}
    made = [each.id async for each in client.collection("steps").list_documents()]
    for worker, step in acknowledged.items():
        assert steps[str(worker)] >= step
        acknowledged[worker] = steps[str(worker)]
    assert len(made) == sum(steps.values())
    assert (await client.document("total/all").get()).get("steps") == len(made)


@pytest.mark.slow
@pytest.mark.timeout(30 + 5 * KILLS)
async def test_no_acknowledged_commit_is_lost_to_kill_9(tmp_path: Path) -> None:
    """FIRESTORE_KILLS sets how often."""
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    dice, acknowledged = random.Random(seed), dict[int, int]()
    for _ in range(KILLS):
        async with running(tmp_path) as (process, host), connected(host) as client:
            await check(client, acknowledged) if acknowledged else None
            load = [asyncio.create_task(write_until_killed(client, worker, acknowledged)) for worker in range(8)]
            await asyncio.wait(load, timeout=0.2 + dice.random())
            process.kill()
            await process.wait()
            await asyncio.gather(*load)
    async with running(tmp_path) as (_, host), connected(host) as client:
        await check(client, acknowledged)
    print(f"{sum(acknowledged.values())} commits survived {KILLS} kills")
