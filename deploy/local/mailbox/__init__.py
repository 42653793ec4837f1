"""A mailbox that takes mails as Resend does and shows them to a person.

``Mailbox`` runs it inside a test, ``python -m deploy.local.mailbox`` as a process. Nothing is ever sent on.
"""

from deploy.local.mailbox.server import Mailbox

__all__ = ["Mailbox"]
