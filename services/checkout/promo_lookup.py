"""Finding a promo code as people type it."""

from typing import Final

import structlog

from services.checkout.promos import unknown
from shared.documents import PromoCode
from shared.firestore import paths
from shared.firestore.client import Database

_log: Final = structlog.get_logger()


async def promo_of(database: Database, typed: str) -> PromoCode:
    """The code in capitals, or just as typed, among ``promoCodes`` and then ``promoterCodes``.

    Raises InvalidPromoCode for one that does not exist. One with fields that cannot be read is good for nothing, which
    only its owner can mend, so it is logged.
    """
    forms = dict.fromkeys((typed.strip().upper(), typed.strip()))
    ids = [form for form in forms if paths.is_document_id(form)]
    spelled = [paths.promo_codes(form) for form in ids]
    candidates = [path for collection in zip(*spelled, strict=True) for path in collection]
    found = await database.get_all(candidates)
    for path in candidates:
        promo = PromoCode.of(found[path])
        if promo is not None:
            if promo.malformed:
                _log.warning("promo_code_is_malformed", promo=path, fields=promo.malformed)
            return promo
    raise unknown()
