"""The client for Node. It is installed into a cache for this; where that cannot be, the reason is printed."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from deploy.local.firestore.server import EmbeddedFirestore

PROGRAM = Path(__file__).parent / "node"
INSTALL = ("npm", "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
IMPATIENT = ("--fetch-retries=0", "--fetch-timeout=20000")


async def run(directory: Path, *command: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(*command, cwd=directory, stdout=PIPE, stderr=PIPE)
    output, errors = await asyncio.wait_for(process.communicate(), timeout=120)
    return process.returncode or 0, output.decode(), errors.decode()


@pytest.fixture
async def node_client(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory with the program and the client it needs."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    cache = getattr(request.config, "cache", None)
    directory: Path = cache.mkdir("firestore-node") if cache else tmp_path
    shutil.copytree(PROGRAM, directory, dirs_exist_ok=True)
    if not (directory / "node_modules/@google-cloud/firestore").is_dir():
        code, _, errors = await run(directory, *INSTALL, *IMPATIENT)
        if code:
            pytest.skip(f"npm could not install the client: {errors[:300]}")
    return directory


@pytest.mark.slow
async def test_the_client_for_node_reads_writes_queries_transacts_and_listens(
    firestore: EmbeddedFirestore, node_client: Path
) -> None:
    code, output, errors = await run(node_client, "node", "play.mjs")
    assert code == 0, errors
    assert json.loads(output) == {
        "bern": {"size": 3, "tags": ["river"], "at": "2023-11-14T22:13:20.123Z", "none": None},
        "bySize": [["thun", 11], ["bern", 3]],
        "total": 2,
        "heard": [[], [["added", "bern"]], [["modified", "bern"]], [["removed", "bern"]]],
        "refused": 5,
    }
