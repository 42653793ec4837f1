import pytest

from deploy.local.stripe.errors import StripeError
from deploy.local.stripe.forms import Form, decode


@pytest.mark.parametrize(
    ("pairs", "form"),
    [
        ([("amount", "12")], {"amount": "12"}),
        ([("metadata[a]", "1"), ("metadata[b]", "2")], {"metadata": {"a": "1", "b": "2"}}),
        ([("expand[]", "x"), ("expand[]", "y")], {"expand": {"0": "x", "1": "y"}}),
        ([("expand[0]", "x"), ("expand[1]", "y")], {"expand": {"0": "x", "1": "y"}}),
        ([("a[b][c]", "1"), ("a[b][d]", "2")], {"a": {"b": {"c": "1", "d": "2"}}}),
        ([("a", "1"), ("a", "2")], {"a": "2"}),
        ([], {}),
    ],
)
def test_brackets_nest(pairs: list[tuple[str, str]], form: Form) -> None:
    assert decode(pairs) == form


@pytest.mark.parametrize(
    "pairs",
    [
        [("a", "1"), ("a[b]", "2")],
        [("a[b]", "2"), ("a", "1")],
        [("a[b", "1")],
        [("[a]", "1")],
        [("a[b]c", "1")],
        [("a" + "[b]" * 7, "1")],
        [("", "1")],
    ],
)
def test_a_malformed_or_contradicting_name_is_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(StripeError):
        decode(pairs)
