"""What a reading request sees: the latest state, a past one, or what its transaction sees."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.local.firestore.engine import Engine
from deploy.local.firestore.transactions import Outcome, Transaction
from deploy.local.firestore.wire import Message, decode_timestamp


@dataclass(frozen=True, slots=True)
class Sight:
    """``read_time`` (microseconds) None is the latest state.

    ``started`` is the id of the transaction that the request itself began, to be told to the client.
    """

    transaction: Transaction | None
    read_time: int | None
    started: bytes = b""

    @property
    def locking(self) -> Transaction | None:
        """The transaction that must lock what it reads."""
        return self.transaction if self.transaction and self.transaction.read_at is None else None


@contextmanager
def seeing(engine: Engine, request: Message, database: str) -> Iterator[Sight]:
    """A transaction that the request begins ends with it when it fails: its client never learns the id.

    ``rpc`` ends those whose id was sent, but did not arrive.
    """
    sight = _sight(engine, request, database)
    try:
        yield sight
    except BaseException:
        if sight.started and sight.transaction:
            engine.transactions.end(sight.transaction, Outcome.ROLLED_BACK)
        raise


def _sight(engine: Engine, request: Message, database: str) -> Sight:
    """Resolve the ``consistency_selector``."""
    match request.WhichOneof("consistency_selector"):
        case "transaction":
            transaction = engine.transactions.find(database, request.transaction)
            return Sight(transaction, transaction.read_at)
        case "new_transaction":
            transaction = begin(engine, database, request.new_transaction)
            return Sight(transaction, transaction.read_at, transaction.id)
        case "read_time":
            return Sight(None, decode_timestamp(request.read_time).micros)
    return Sight(None, None)


def begin(engine: Engine, database: str, options: Message) -> Transaction:
    """Begin what ``TransactionOptions`` describe; read-write where they say nothing."""
    if options.WhichOneof("mode") != "read_only":
        return engine.begin(database, retry_of=options.read_write.retry_transaction)
    if not options.read_only.HasField("read_time"):
        return engine.begin(database, read_only=True)
    read_time = decode_timestamp(options.read_only.read_time).micros
    return engine.begin(database, read_only=True, read_time=read_time)
