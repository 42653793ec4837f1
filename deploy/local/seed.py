"""``python -m deploy.local.seed``: the demo event, made on the first start and left alone afterwards."""

import asyncio
from datetime import UTC, datetime, timedelta

from google.api_core.exceptions import AlreadyExists
from google.cloud.firestore import AsyncClient

DEMO_EVENT = "demo-event"
DEMO_TICKETS = 500


async def seed_demo_event(client: AsyncClient) -> bool:
    """Answers whether the event was made now."""
    event = {
        "name": "Demo Night",
        "dateTime": datetime.now(UTC) + timedelta(days=30),
        "quantity": DEMO_TICKETS,
        "seededQuantity": DEMO_TICKETS,
        "price": 25,
        "ticketTiers": [{"name": "General", "price": 25}, {"name": "VIP", "price": 80}],
    }
    try:
        await client.collection("events").document(DEMO_EVENT).create(event)
    except AlreadyExists:
        return False
    return True


async def main() -> None:
    made = await seed_demo_event(AsyncClient())
    print("made" if made else "found", DEMO_EVENT)


if __name__ == "__main__":
    asyncio.run(main())
