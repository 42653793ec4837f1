"""Stripe's request encoding: form fields whose names nest with brackets, ``metadata[order]=7``, ``expand[]=x``."""

import re
from collections.abc import Iterable

from deploy.local.stripe.errors import StripeError

CLASH = "Invalid {name}: it is both a value and a hash or array. Send one of them."
NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
MAX_DEPTH = 6

Form = dict[str, "str | Form"]
"""Arrays stay hashes with their indexes as keys: only the parameter's type can tell ``metadata[0]`` from one."""


def decode(pairs: Iterable[tuple[str, str]]) -> Form:
    """Raises StripeError where a name is malformed or contradicts an earlier one."""
    form: Form = {}
    for name, value in pairs:
        *parents, last = _path(name)
        node = form
        for step in parents:
            child = node.setdefault(step or str(len(node)), {})
            if isinstance(child, str):
                raise StripeError(CLASH.format(name=name), param=name)
            node = child
        key = last or str(len(node))
        if isinstance(node.get(key), dict):
            raise StripeError(CLASH.format(name=name), param=name)
        node[key] = value
    return form


def _path(name: str) -> list[str]:
    match = NAME.fullmatch(name)
    if match is None or match[2].count("[") > MAX_DEPTH:
        raise StripeError(f"Invalid parameter name: {name}", param=name)
    return [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
