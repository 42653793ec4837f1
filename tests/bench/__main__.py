"""``make bench``: every measurement, one after the other. Ratios within one run mean more than the figures."""

import asyncio

from tests.bench import firestore, sales


async def main() -> None:
    print("The embedded Firestore, in a process of its own, on a disk", flush=True)
    await firestore.measure()
    print("\nSales of one event", flush=True)
    await sales.measure()


if __name__ == "__main__":
    asyncio.run(main())
