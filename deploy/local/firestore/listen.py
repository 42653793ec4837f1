"""Listen: a stream that tells what matches its targets, and then every change, snapshot by snapshot.

When a commit touches a target's scope its query runs again and what differs is told: right for limits and orders too,
at the price of the query. Commits that come while a snapshot is being told are told together in the next one.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Final

from google.cloud.firestore_v1.types import firestore

from deploy.local.firestore.commits import Committed
from deploy.local.firestore.document_wire import encode_document
from deploy.local.firestore.documents import resource_name
from deploy.local.firestore.engine import Engine
from deploy.local.firestore.errors import FailedPrecondition, FirestoreError, InvalidArgument
from deploy.local.firestore.index_file import IndexDefinitions
from deploy.local.firestore.names import parse_database
from deploy.local.firestore.readers import Moment
from deploy.local.firestore.targets import Difference, Known, Subject, decode_subject, difference, known_then
from deploy.local.firestore.values import Timestamp
from deploy.local.firestore.wire import Message, decode_timestamp, encode_timestamp

ListenReply: Final = firestore.ListenResponse.pb()
_Kind: Final = firestore.TargetChange.TargetChangeType
_TOKEN_BYTES: Final = 8


@dataclass(slots=True)
class _Target:
    id: int
    database: str
    subject: Subject
    known: Known
    stale: bool = False

    def hear(self, committed: Committed) -> None:
        for change in committed.changes:
            document = change.after or change.before
            if document and document.database == self.database and self.subject.covers(document.path):
                self.stale = True
                return


class Listeners:
    def __init__(self, engine: Engine, indexes: IndexDefinitions | None) -> None:
        self._engine = engine
        self._indexes = indexes

    async def listen(self, requests: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
        session = _Session(self._engine, self._indexes)
        taking = asyncio.create_task(session.take(requests))
        self._engine.listeners.append(session.hear)
        try:
            async for reply in session.run():
                yield reply
            await taking
        finally:
            self._engine.listeners.remove(session.hear)
            taking.cancel()


class _Session:
    """One stream: requests and commits come in at any time, replies go out one after the other."""

    def __init__(self, engine: Engine, indexes: IndexDefinitions | None) -> None:
        self._engine = engine
        self._indexes = indexes
        self._targets: dict[int, _Target] = {}
        self._requests: deque[Message] = deque()
        self._ended = False
        self._wake = asyncio.Event()

    async def take(self, requests: AsyncIterator[Message]) -> None:
        try:
            async for request in requests:
                self._requests.append(request)
                self._wake.set()
        finally:
            self._ended = True
            self._wake.set()

    def hear(self, committed: Committed) -> None:
        for target in self._targets.values():
            target.hear(committed)
        self._wake.set()

    async def run(self) -> AsyncGenerator[Message, None]:
        while not self._ended:
            await self._wake.wait()
            self._wake.clear()
            while self._requests:
                async for reply in self._obey(self._requests.popleft()):
                    yield reply
            async for reply in self._tell_changes():
                yield reply

    async def _obey(self, request: Message) -> AsyncGenerator[Message, None]:
        match request.WhichOneof("target_change"):
            case "add_target":
                async for reply in self._add(parse_database(request.database), request.add_target):
                    yield reply
            case "remove_target":
                if self._targets.pop(request.remove_target, None):
                    yield _target_change(_Kind.REMOVE, request.remove_target)
            case _:
                raise InvalidArgument("A listen request is empty: set add_target or remove_target.")

    async def _add(self, database: str, message: Message) -> AsyncGenerator[Message, None]:
        target_id = message.target_id or self._free_id()
        if target_id in self._targets:
            raise InvalidArgument(f"Target {target_id} is already being listened to. Remove it first.")
        try:
            subject = decode_subject(message, database, self._indexes)
            known, too_old = await self._resume(message, database, subject)
        except FirestoreError as refusal:
            yield _refusal(target_id, refusal)
            return
        yield _target_change(_Kind.ADD, target_id)
        if too_old:
            yield _target_change(_Kind.RESET, target_id)
        target = self._targets[target_id] = _Target(target_id, database, subject, known)
        moment = self._engine.moment()
        for reply in await self._news(target, moment):
            yield reply
        yield _target_change(_Kind.CURRENT, target_id, at=moment.read_time)
        yield _target_change(_Kind.NO_CHANGE, at=moment.read_time)
        if message.once:
            del self._targets[target_id]
            yield _target_change(_Kind.REMOVE, target_id)

    async def _resume(self, message: Message, database: str, subject: Subject) -> tuple[Known, bool]:
        """What the listener knows from before, and whether that is too long ago to tell."""
        then = _resumed_at(message)
        if then is None:
            return subject.unheard(), False
        try:
            moment = self._engine.moment(then)
        except FailedPrecondition:
            return subject.unheard(), True
        return await self._engine.readers.read(database, moment, known_then(subject)), False

    async def _tell_changes(self) -> AsyncGenerator[Message, None]:
        stale = [target for target in self._targets.values() if target.stale]
        if not stale:
            return
        moment = self._engine.moment()
        for target in stale:
            for reply in await self._news(target, moment):
                yield reply
        yield _target_change(_Kind.NO_CHANGE, at=moment.read_time)

    async def _news(self, target: _Target, moment: Moment) -> list[Message]:
        target.stale = False
        compare = difference(target.subject, target.known)
        found = await self._engine.readers.read(target.database, moment, compare)
        target.known = found.known
        return _told(target, found, moment.read_time)

    def _free_id(self) -> int:
        return max(self._targets, default=0) + 1


def _told(target: _Target, found: Difference, read_time: int) -> list[Message]:
    replies = []
    for document in found.changed:
        reply = ListenReply()
        encode_document(document, target.subject.select, reply.document_change.document)
        reply.document_change.target_ids.append(target.id)
        replies.append(reply)
    for path in found.left:
        reply = ListenReply()
        _fill_removal(reply.document_remove, target, path, read_time)
        replies.append(reply)
    for path in found.deleted:
        reply = ListenReply()
        _fill_removal(reply.document_delete, target, path, read_time)
        replies.append(reply)
    return replies


def _fill_removal(message: Message, target: _Target, path: str, read_time: int) -> None:
    message.document = resource_name(target.database, path)
    message.removed_target_ids.append(target.id)
    encode_timestamp(Timestamp(read_time), message.read_time)


def _target_change(kind: int, *target_ids: int, at: int | None = None) -> Message:
    reply = ListenReply()
    change = reply.target_change
    change.SetInParent()
    change.target_change_type = int(kind)
    change.target_ids.extend(target_ids)
    if at is not None:
        encode_timestamp(Timestamp(at), change.read_time)
        change.resume_token = at.to_bytes(_TOKEN_BYTES)
    return reply


def _refusal(target_id: int, refusal: FirestoreError) -> Message:
    reply = _target_change(_Kind.REMOVE, target_id)
    reply.target_change.cause.code = refusal.code.value[0]
    reply.target_change.cause.message = str(refusal)
    return reply


def _resumed_at(message: Message) -> int | None:
    """Microseconds; the resume token is the time of the snapshot it came with."""
    match message.WhichOneof("resume_type"):
        case "resume_token" if len(message.resume_token) != _TOKEN_BYTES:
            raise InvalidArgument("The resume_token is not one that this server gave.")
        case "resume_token":
            return int.from_bytes(message.resume_token)
        case "read_time":
            return decode_timestamp(message.read_time).micros
    return None
