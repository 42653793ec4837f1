"""The service as a whole: who may call what, what it measures, what it says of itself."""

from prometheus_client import CollectorRegistry

from services.scanning.app import create_app
from services.scanning.metrics import ScanningMetrics
from services.scanning.refusals import DENIALS
from services.scanning.settings import ScanningSettings
from services.scanning.verdict import ADMITTED, Answer, Verdict
from tests.support.services import Service, serving
from tests.support.tickets import Tickets

ADMIN_ROUTES = [
    ("POST", "/scan-ticket/undo"),
    ("POST", "/reconcile-event-users"),
    ("POST", "/inventory-drift"),
    ("POST", "/backfill-ticket-tokens"),
    ("POST", "/door-keys"),
    ("GET", "/door-keys?eventId=e1"),
    ("DELETE", "/door-keys/k1"),
    ("GET", "/events/e1/manifest"),
]


async def test_admin_routes_need_an_admins_token_where_the_proxy_alone_is_not_trusted(
    scanning_settings: ScanningSettings, tickets: Tickets
) -> None:
    await tickets.sell("anna", 1, "r1")
    strict = scanning_settings.model_copy(update={"admin_auth": "token"})
    async with serving(create_app(strict)) as door:
        for method, path in ADMIN_ROUTES:
            reply = await door.request(method, path, json={"eventId": "e1", "scanId": "s", "label": "x"})
            assert (reply.status, reply.code) == (401, "token_missing"), path
        assert (await door.post("/scan-ticket", {"token": "r1-token"})).status == 200


async def test_every_route_but_the_open_ones_needs_the_proxy_key(door: Service) -> None:
    document = (await door.get("/openapi.json")).body
    for path, methods in document["paths"].items():
        for method in methods:
            asked = path.replace("{eventId}", "e1").replace("{id}", "k1")
            reply = await door.request(method.upper(), asked, headers={"x-proxy-key": "wrong"})
            opened = asked in {"/health", "/ready", "/metrics", "/openapi.json", "/docs"}
            assert (reply.status != 403) == opened, path


async def test_the_documentation_names_every_refusal_of_a_scan(door: Service) -> None:
    document = str((await door.get("/openapi.json")).body)
    assert all(refusal.code in document for refusal in DENIALS)


async def test_scans_are_measured_by_method_outcome_and_code(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 3, "r1")
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1", "count": 2})
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    await door.post("/scan-ticket", {"userId": "ben", "eventId": "e1"})
    await door.post("/scan-ticket", {"token": "other", "scanId": "s1", "eventId": "e1"})
    await door.post("/scan-ticket/preview", {"token": "r1-token"})
    assert await door.metric("scans_total", method="token", outcome="admitted") == 1
    assert await door.metric("scans_total", method="token", outcome="replayed") == 1
    assert await door.metric("scans_total", method="user", outcome="denied", code="ticket_not_found") == 1
    assert await door.metric("scans_total", method="token", outcome="refused", code="scan_id_reused") == 1
    assert await door.metric("scan_previews_total", status="admitted") == 1
    assert await door.metric("scan_remaining_at_entry_sum") == 3
    assert await door.metric("scan_remaining_at_entry_count") == 1
    assert await door.metric("event_admitted_tickets", event="e1") == 2
    assert await door.metric("scan_seconds_count", method="token") == 3


def test_only_the_events_scanned_last_have_a_figure_of_their_own() -> None:
    registry = CollectorRegistry()
    metrics = ScanningMetrics(registry)
    for n in range(50):
        metrics.scanned("token", Answer(Verdict(ADMITTED, f"e{n}", count=1), "s", entered=1))
    [family] = [family for family in registry.collect() if family.name == "event_admitted_tickets"]
    assert [sample.labels["event"] for sample in family.samples] == [f"e{n}" for n in range(30, 50)]
