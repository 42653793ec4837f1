"""What the embedded deployment consists of, and what each part is told."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.local.addresses import HOST, PROJECT, Addresses
from deploy.local.routing import SERVICES

WEBHOOK_SECRET: Final = "whsec_local"  # noqa: S105  it protects nothing but this machine's simulator

PASSED_ON: Final = frozenset(
    {
        *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDEVMODE"),
        *("LOG_LEVEL", "LOG_FORMAT", "PROXY_KEY", "ALLOW_NO_PROXY_KEY", "MAX_TICKETS_PER_ITEM", "MAX_BODY_BYTES"),
        *(
            "RATE_LIMITS",
            "RATE_LIMIT_STORAGE_URI",
            "RATE_LIMIT_PATIENCE_SECONDS",
            "JOB_POLL_SECONDS",
            "COMMIT_DEADLINE_SECONDS",
        ),
        *("PUBLIC_SITE_URL", "EMAIL_FROM", "SALES_TAX_PERCENT", "TRANSFER_TTL_HOURS"),
        *("HOLD_MINUTES", "MAX_HELD_PER_BUYER", "SWEEP_SECONDS", "SWEEP_AFTER_SECONDS"),
        *("UNDO_WINDOW_MINUTES", "AUDIT_SCHEDULE", "AUDIT_TIMEZONE"),
    }
)
"""The variables of the launcher's environment that reach the parts. The others do not, above all no credentials and
no addresses of real systems: the embedded deployment talks to itself only.
"""

INDEXES: Final = Path(__file__).parents[1] / "firestore" / "firestore.indexes.json"
"""So that a query which production would refuse for lack of an index fails here first."""

DEFAULTS: Final = {
    "PROXY_KEY": "dev-proxy",
    "ADMIN_AUTH": "proxy",
    "HOLD_MINUTES": "10",
    "PUBLIC_SITE_URL": "http://localhost:3000",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One process: ``python -m module arguments``, ready when its URL answers (or, without one, its port)."""

    name: str
    module: str
    arguments: Sequence[str]
    port: int
    ready_url: str | None
    environment: Mapping[str, str] = field(default_factory=dict)


def layers(addresses: Addresses, data_dir: Path | None) -> Sequence[Sequence[Part]]:
    """The parts, each layer using those below it; the lowest first. ``data_dir`` None keeps nothing."""
    services = [_service(name, addresses) for name in SERVICES]
    webhook = f"{addresses.url('checkout')}/stripe/webhook={WEBHOOK_SECRET}"
    stripe = _embedded("stripe", addresses, data_dir, "--webhook", webhook)
    third_parties = [stripe, _embedded("mailbox", addresses, data_dir)]
    database = _embedded("firestore", addresses, data_dir, "--indexes", str(INDEXES))
    return [[database], third_parties, services, [_gateway(addresses)]]


def seeding(addresses: Addresses) -> Part:
    """Not a server: it ends when the demo event is there."""
    return Part("seed", "deploy.local.seed", [], 0, None, service_environment(addresses))


def _embedded(name: str, addresses: Addresses, data_dir: Path | None, *arguments: str) -> Part:
    keeping = ["--data-dir", str(data_dir / name)] if data_dir else ["--ephemeral"]
    port = addresses.ports[name]
    ready_url = None if name == "firestore" else f"{addresses.url(name)}/ready"
    return Part(
        name, f"deploy.local.{name}", [*keeping, "--port", str(port), *arguments], port, ready_url, _inherited()
    )


def _service(name: str, addresses: Addresses) -> Part:
    port = addresses.ports[name]
    environment = service_environment(addresses) | {"PORT": str(port)}
    return Part(name, f"services.{name}", [], port, f"{addresses.url(name)}/ready", environment)


def _gateway(addresses: Addresses) -> Part:
    services = [f"--service={name}={addresses.url(name)}" for name in SERVICES]
    links = [f"--link={name}={addresses.url(name)}" for name in ("mailbox", "stripe")]
    links.append(f"--link=firestore={addresses.firestore}")
    port = addresses.ports["gateway"]
    arguments = ["--port", str(port), *services, *links]
    return Part("gateway", "deploy.local.gateway", arguments, port, f"{addresses.url('gateway')}/ready", _inherited())


def service_environment(addresses: Addresses) -> dict[str, str]:
    """What every service is told; the launcher's own environment wins where it may."""
    return {
        **DEFAULTS,
        **_inherited(),
        "HOST": HOST,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "FIRESTORE_EMULATOR_HOST": addresses.firestore,
        "STRIPE_SECRET": "sk_test_local",
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_API_BASE": addresses.url("stripe"),
        "RESEND_API_KEY": "re_local",
        "CLAIM_TOKEN_SECRET": "local",
        "RESEND_API_URL": addresses.url("mailbox"),
        "TRUSTED_PROXY_HOPS": "1",  # the gateway
        "DRAIN_SECONDS": "0",  # the gateway has stopped by then: nobody needs to be told first
        "SHUTDOWN_TIMEOUT_SECONDS": "10",
    }


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in PASSED_ON}
