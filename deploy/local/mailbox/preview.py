"""The web page that shows the mails.

A mail's HTML is hostile until proven otherwise: it is only ever shown inside a sandboxed frame, without scripts, forms
or the network.
"""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2

from deploy.local.mailbox.store import Mail, StoredAttachment

PAGE = Path(__file__).parent / "page"
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The frame inherits it: pictures come from the mail itself, styles are its own, and nothing else loads."""
OPEN_LINKS_OUTSIDE = '<base target="_blank">'
"""A link that is clicked opens a tab of its own: the frame itself may load nothing."""
IMAGES = re.compile(r"image/(png|jpeg|gif|webp)")
CID = re.compile(r"""cid:([^"'\s)>]+)""")


class Pages:
    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(PAGE), autoescape=True, undefined=jinja2.StrictUndefined
        )

    def render(
        self,
        mails: Sequence[Mail],
        shown: Mail | None,
        attachments: Sequence[StoredAttachment],
        total: int,
        *,
        lost: bool = False,
    ) -> str:
        """``lost``: a mail was asked for that is not there."""
        page = self._templates.get_template("page.html")
        html = shown.fields["html"] if shown else None
        return page.render(
            mails=mails,
            shown=shown,
            total=total,
            lost=lost,
            preview=None if html is None else OPEN_LINKS_OUTSIDE + resolve_images(html, attachments),
        )


def resolve_images(html: str, attachments: Sequence[StoredAttachment]) -> str:
    """``cid:`` references of the mail's own pictures as data URLs; an unknown one stays as it is."""
    images = {a.content_id: a for a in attachments if a.content_id and IMAGES.fullmatch(a.content_type)}

    def resolved(reference: re.Match[str]) -> str:
        image = images.get(reference[1])
        if image is None:
            return reference[0]
        return f"data:{image.content_type};base64,{base64.b64encode(image.content).decode()}"

    return CID.sub(resolved, html)
