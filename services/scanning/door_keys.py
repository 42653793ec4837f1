"""Door keys: a scanner's credential for one event, to scan and to preview. Pure.

A key is ``dk_<id>_<secret>``: the id finds the document, the secret (256 random bits) needs no slow hash.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.documents import DoorKey
from shared.errors import Forbidden, NotFound, Unauthorized
from shared.firestore import paths
from shared.operations import Decision, Documents, Merge, Put

_PREFIX: Final = "dk"


class InvalidDoorKey(Unauthorized):
    code = "invalid_door_key"


class DoorKeyExpired(Unauthorized):
    code = "door_key_expired"


class OtherEventsDoorKey(Forbidden):
    code = "door_key_for_other_event"


class DoorKeyNotFound(NotFound):
    code = "door_key_not_found"


def presented(key_id: str, secret: str) -> str:
    return f"{_PREFIX}_{key_id}_{secret}"


def id_of(key: str) -> str:
    """The id in a key; InvalidDoorKey if it is none."""
    prefix, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not secret or not paths.is_document_id(key_id):
        raise _invalid()
    return key_id


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def check(record: DoorKey | None, key: str, now: datetime) -> DoorKey:
    """The key's record, if the key opens a door now; InvalidDoorKey or DoorKeyExpired if not."""
    if record is None or not hmac.compare_digest(record.key_hash, hashed(key)) or record.revoked_at is not None:
        raise _invalid()
    if record.expires_at is not None and record.expires_at <= now:
        raise DoorKeyExpired("This scanner's key has expired. Please ask an admin for a new one.")
    return record


def _invalid() -> InvalidDoorKey:
    return InvalidDoorKey(
        "This scanner's key is not valid. Please ask an admin for a new one.",
        message="The header x-door-key holds no key that opens a door, or one that was revoked.",
    )


@dataclass(frozen=True, slots=True)
class IssueKey:
    key: DoorKey

    @property
    def lane(self) -> str:
        return self.key.path

    def reads(self) -> Sequence[str]:
        return (self.key.path,)

    def decide(self, docs: Documents) -> Decision[None]:
        known = docs[self.key.path].exists  # its id is random: it is there only if this operation wrote it
        return Decision(None, () if known else (Put(self.key.path, self.key.fields()),))


@dataclass(frozen=True, slots=True)
class RevokeKey:
    key_id: str
    now: datetime

    @property
    def lane(self) -> str:
        return paths.door_key(self.key_id)

    def reads(self) -> Sequence[str]:
        return (paths.door_key(self.key_id),)

    def decide(self, docs: Documents) -> Decision[DoorKey]:
        key = DoorKey.of(docs[paths.door_key(self.key_id)])
        if key is None:
            raise DoorKeyNotFound("There is no such door key.")
        writes = (Merge(key.path, DoorKey.patch(revoked_at=self.now)),) if key.revoked_at is None else ()
        return Decision(key, writes)
