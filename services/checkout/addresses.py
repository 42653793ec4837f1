"""Email addresses as people type them. Pure."""


def same(one: str | None, other: str | None) -> bool:
    """Whether two addresses are one mailbox, as people type it."""
    return bool(one and other) and str(one).casefold() == str(other).casefold()


def spellings(email: str) -> list[str]:
    """How an address may be stored: as it was typed, and in lower case."""
    return list(dict.fromkeys([email, email.lower()]))
