"""The QR code that the door reads, as the attachment of a mail."""

import io
from typing import Final

import resend
import segno

from services.checkout.letters import attachment
from shared.documents import Rager

_SCALE: Final = 6


def qr_code(rager: Rager, content_id: str) -> resend.Attachment:
    """``rtk:<token>`` as a PNG, shown in the HTML as ``cid:<content_id>``. Takes milliseconds of CPU."""
    image = io.BytesIO()
    segno.make(f"rtk:{rager.ticket_token}", error="m").save(image, kind="png", scale=_SCALE)
    return attachment(f"{content_id}.png", image.getvalue(), "image/png", content_id)
