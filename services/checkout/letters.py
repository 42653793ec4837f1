"""Mails from templates: a name, two versions of it in ``templates/`` (HTML and text), and what they say.

    await mailer.send(Letter("transfer_offer", to, "Tickets for you", {"event": event}), run.idempotency_key)

``templates/transfer_offer.html`` extends ``layout.html``, ``templates/transfer_offer.txt`` extends ``layout.txt``; both
see the context and ``site``, the address of the web app. Their blocks are ``title`` (the heading too), ``body`` and
``foot``.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import css_inline
import jinja2
import resend

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_INLINER: Final = css_inline.CSSInliner(load_remote_stylesheets=False)  # mail clients drop style sheets


def money(minor: int, currency: str) -> str:
    """``12.50 USD`` from minor units of a currency with two decimals."""
    sign = "-" if minor < 0 else ""
    return f"{sign}{abs(minor) // 100}.{abs(minor) % 100:02d} {currency.upper()}"


def when(moment: datetime | None) -> str:
    return moment.strftime("%A, %d %B %Y, %H:%M UTC") if moment else "to be announced"


def day(moment: datetime | None) -> str:
    return moment.strftime("%d %B %Y") if moment else "at an unknown date"


_TEMPLATES.filters.update(money=money, when=when, day=day)


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail to one address. ``template`` is the name of a template, without its extension."""

    template: str
    to: str
    subject: str
    context: Mapping[str, object]
    attachments: Sequence[resend.Attachment] = ()


@dataclass(frozen=True, slots=True)
class Stationery:
    """What all mails have in common: who sends them, and the ``site`` they lead to."""

    sender: str
    site: str

    def write(self, letter: Letter) -> resend.Emails.SendParams:
        """The mail as Resend takes it. Takes milliseconds of CPU: from a loop, call it in a thread."""
        html, text = (self._rendered(letter, extension) for extension in ("html", "txt"))
        return {
            "from": self.sender,
            "to": [letter.to],
            "subject": " ".join(letter.subject.split()),
            "html": _INLINER.inline(html),
            "text": text,
            "attachments": list(letter.attachments),
        }

    def _rendered(self, letter: Letter, extension: str) -> str:
        return _TEMPLATES.get_template(f"{letter.template}.{extension}").render(site=self.site, **letter.context)


def attachment(filename: str, content: bytes, content_type: str, content_id: str | None = None) -> resend.Attachment:
    """``content_id`` is what the HTML shows it by, as ``cid:...``."""
    attached: resend.Attachment = {
        "filename": filename,
        "content": base64.b64encode(content).decode(),
        "content_type": content_type,
    }
    return {**attached, "content_id": content_id} if content_id else attached
