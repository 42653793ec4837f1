"""Gives one batch the token it lacks, and its token the mapping. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.documents import Rager, TicketToken
from shared.firestore import paths
from shared.operations import Decision, Documents, Merge, Put, Write


@dataclass(frozen=True, slots=True)
class Minted:
    """What was done. A person must look at two kinds, of which nothing is changed: ``disputed``, the token is another
    batch's as well; ``unusable``, no code can lead to the token.
    """

    token_added: bool = False
    mapping_created: bool = False
    mapping_repaired: bool = False
    disputed: bool = False
    unusable: bool = False

    @property
    def changed(self) -> bool:
        return self.token_added or self.mapping_created or self.mapping_repaired


NOTHING = Minted()
UNUSABLE = Minted(unusable=True)


@dataclass(frozen=True, slots=True)
class Mint:
    """``token`` is the batch's own as it was looked up, ``fresh`` the one it gets if it has none. ``misled`` is the
    path of the batch that the token's mapping pointed to, if that was another one; ``sharers`` are the paths of other
    batches that may have the same token.

    Batches that were refunded or transferred away keep out of it: a claimed transfer deletes a mapping for good.
    """

    event_id: str
    rager_id: str
    token: str | None
    fresh: str
    misled: str | None
    sharers: tuple[str, ...]
    now: datetime

    @property
    def lane(self) -> str:
        return self.event_id

    @property
    def path(self) -> str:
        return paths.rager(self.event_id, self.rager_id)

    def reads(self) -> Sequence[str]:
        return (self.path, paths.ticket_token(self.token or self.fresh), *self.sharers)

    def decide(self, docs: Documents) -> Decision[Minted]:
        rager = Rager.of(docs[self.path])
        if rager is None or not rager.counts:
            return Decision(NOTHING)
        token = rager.ticket_token or self.fresh
        if token != (self.token or self.fresh):  # given one in between
            return Decision(NOTHING)
        mapping = TicketToken.of(docs[paths.ticket_token(token)])
        points_to = pointed(mapping) if mapping else None
        if mapping is not None and points_to == self.path:
            return self._told() if mapping.created_at == self.now else _hinted(mapping, rager)
        if any(_bears(Rager.of(docs[path]), token) for path in self.sharers):
            return Decision(Minted(disputed=True))
        if points_to not in {None, self.misled}:  # repaired in between
            return Decision(NOTHING)
        return self._mapped(rager, token, repaired=points_to is not None)

    def _told(self) -> Decision[Minted]:
        """This operation wrote the mapping, and its reply was lost."""
        return Decision(Minted(self.token is None, self.misled is None, self.misled is not None))

    def _mapped(self, rager: Rager, token: str, *, repaired: bool) -> Decision[Minted]:
        right = TicketToken(paths.ticket_token(token), self.event_id, rager.id, self.now, rager.user_id)
        given = () if rager.ticket_token else (rager.changed(self.now, ticket_token=token),)
        done = Minted(bool(given), mapping_created=not repaired, mapping_repaired=repaired)
        return Decision(done, (*given, Put(right.path, right.fields())))


def _bears(other: Rager | None, token: str) -> bool:
    return other is not None and other.ticket_token == token and other.counts


def _hinted(mapping: TicketToken, rager: Rager) -> Decision[Minted]:
    """A mapping that points here: only its hint at the holder may be old."""
    if mapping.user_id == rager.user_id:
        return Decision(NOTHING)
    writes: Sequence[Write] = (Merge(mapping.path, TicketToken.patch(user_id=rager.user_id)),)
    return Decision(Minted(mapping_repaired=True), writes)


def pointed(mapping: TicketToken) -> str | None:
    """The path of the batch that a mapping points to, None if it points nowhere."""
    if paths.is_document_id(mapping.event_id) and paths.is_document_id(mapping.rager_id):
        return paths.rager(mapping.event_id, mapping.rager_id)
    return None
