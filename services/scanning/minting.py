"""Gives one batch the token it lacks, and its token the mapping. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.documents import Rager, TicketToken
from shared.firestore import paths
from shared.operations import Decision, Documents, Merge, Put, Write


@dataclass(frozen=True, slots=True)
class Minted:
    """What was done. ``disputed``: the token is another batch's as well, which a person must look at."""

    token_added: bool = False
    mapping_created: bool = False
    mapping_repaired: bool = False
    disputed: bool = False

    @property
    def changed(self) -> bool:
        return self.token_added or self.mapping_created or self.mapping_repaired


NOTHING = Minted()


@dataclass(frozen=True, slots=True)
class Mint:
    """``token`` is the batch's own as it was looked up, ``fresh`` the one it gets if it has none, and ``claimant`` the
    path of the batch that the token's mapping pointed to, if that was another one.

    Batches that were refunded or transferred away keep out of it: a claimed transfer deletes a mapping for good.
    """

    event_id: str
    rager_id: str
    token: str | None
    fresh: str
    claimant: str | None
    now: datetime

    @property
    def lane(self) -> str:
        return self.event_id

    @property
    def path(self) -> str:
        return paths.rager(self.event_id, self.rager_id)

    def reads(self) -> Sequence[str]:
        claimant = (self.claimant,) if self.claimant else ()
        return (self.path, paths.ticket_token(self.token or self.fresh), *claimant)

    def decide(self, docs: Documents) -> Decision[Minted]:
        rager = Rager.of(docs[self.path])
        if rager is None or not rager.counts:
            return Decision(NOTHING)
        token = rager.ticket_token or self.fresh
        if token != (self.token or self.fresh):  # given one in between
            return Decision(NOTHING)
        mapping = TicketToken.of(docs[paths.ticket_token(token)])
        if mapping is None or pointed(mapping) is None:
            return self._mended(rager, token, None, docs)
        if mapping.created_at == self.now:  # this operation wrote it, and its reply was lost
            return Decision(Minted(self.token is None, self.claimant is None, self.claimant is not None))
        return self._mended(rager, token, mapping, docs)

    def _mended(self, rager: Rager, token: str, mapping: TicketToken | None, docs: Documents) -> Decision[Minted]:
        points_to = pointed(mapping) if mapping else None
        right = TicketToken(paths.ticket_token(token), self.event_id, rager.id, self.now, rager.user_id)
        if mapping is not None and points_to == self.path:
            return _hinted(mapping, rager)
        if points_to is not None:
            if points_to != self.claimant:  # repaired in between
                return Decision(NOTHING)
            other = Rager.of(docs[points_to])
            if other is not None and other.ticket_token == token and other.counts:
                return Decision(Minted(disputed=True))
        given = () if rager.ticket_token else (rager.changed(self.now, ticket_token=token),)
        done = Minted(bool(given), mapping_created=mapping is None, mapping_repaired=mapping is not None)
        return Decision(done, (*given, Put(right.path, right.fields())))


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
