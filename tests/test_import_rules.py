"""Who may import whom. The design's rules, and nothing more."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE_IMPORTS = {"shared.documents", "shared.errors", "shared.operations", "shared.records", "shared.firestore.paths"}
"""Besides the standard library: the vocabulary of documents and decisions. None of these does any I/O."""
PURE_MODULES = {
    "shared/documents/__init__.py",
    "shared/documents/door.py",
    "shared/documents/events.py",
    "shared/documents/orders.py",
    "shared/documents/people.py",
    "shared/documents/reading.py",
    "shared/documents/work.py",
    "shared/errors.py",
    "shared/jobs.py",
    "shared/operations.py",
    "shared/records.py",
    "shared/firestore/paths.py",
    "services/checkout/addresses.py",
    "services/checkout/batches.py",
    "services/checkout/calendar.py",
    "services/checkout/claims.py",
    "services/checkout/guest_claims.py",
    "services/checkout/notifications.py",
    "services/checkout/pricing.py",
    "services/checkout/promos.py",
    "services/checkout/schedule.py",
    "services/checkout/tally.py",
    "services/checkout/transfer_ends.py",
    "services/checkout/transfers.py",
    "services/scanning/admission.py",
    "services/scanning/asking.py",
    "services/scanning/door_keys.py",
    "services/scanning/holding.py",
    "services/scanning/minting.py",
    "services/scanning/payload.py",
    "services/scanning/repair.py",
    "services/scanning/selection.py",
    "services/scanning/undo.py",
    "services/scanning/verdict.py",
}
EMBEDDED = "deploy.local"


def modules() -> Iterator[Path]:
    for top in ("services", "shared", "deploy"):
        yield from sorted((ROOT / top).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The absolute names a module imports, anywhere in it; ``from a import b`` counts as ``a.b`` and ``a``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", list(modules()), ids=relative)
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    place = relative(path).removesuffix(".py").replace("/", ".")
    for name in imported(path):
        if within(place, "services"):
            own = ".".join(place.split(".")[:2])
            assert not within(name, "services") or within(name, own), f"a service imports another: {name}"
        if within(place, "shared"):
            assert not within(name, "services"), f"shared imports a service: {name}"
        if not within(place, EMBEDDED):
            assert not within(name, EMBEDDED), f"production code imports the embedded servers: {name}"


@pytest.mark.parametrize("module", sorted(PURE_MODULES))
def test_a_pure_module_imports_only_the_standard_library_and_the_vocabulary(module: str) -> None:
    pure = PURE_IMPORTS | {name.removesuffix(".py").replace("/", ".") for name in PURE_MODULES}
    for name in imported(ROOT / module):
        standard = name.split(".")[0] in sys.stdlib_module_names
        assert standard or any(within(name, allowed) for allowed in pure), f"{module} imports {name}"
