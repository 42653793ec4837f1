import pytest
from pydantic import Field, SecretStr

from shared.config import Settings, load

NAMES = ("PROXY_KEY", "ALLOW_NO_PROXY_KEY", "GOOGLE_CLOUD_PROJECT", "PORT", "ADMIN_AUTH", "LOG_LEVEL")


class ShopSettings(Settings):
    stripe_secret: SecretStr
    sales_tax_percent: float = Field(default=0, ge=0, le=100)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_KEY", "one, two,,")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")
    monkeypatch.setenv("PORT", "8099")
    settings = load(Settings)
    assert (settings.proxy_keys, settings.port, settings.admin_auth) == (("one", "two"), 8099, "token")


def test_every_problem_is_named_at_once_and_the_exit_code_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "http")
    monkeypatch.setenv("ADMIN_AUTH", "nobody")
    monkeypatch.setenv("SALES_TAX_PERCENT", "101")
    with pytest.raises(SystemExit) as stopped:
        load(ShopSettings)
    complaint = capsys.readouterr().err
    assert stopped.value.code == 2
    assert [line.split()[0] for line in complaint.splitlines()[1:]] == [
        "PROXY_KEY",
        "ADMIN_AUTH",
        "GOOGLE_CLOUD_PROJECT",
        "PORT",
        "STRIPE_SECRET",
        "SALES_TAX_PERCENT",
    ]


def test_each_problem_is_one_sentence_about_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROXY_KEY", "one")
    monkeypatch.setenv("PORT", "70000")
    monkeypatch.setenv("RATE_LIMIT_STORAGE_URI", "memory://")
    with pytest.raises(SystemExit):
        load(Settings)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  GOOGLE_CLOUD_PROJECT is not set",
        "  RATE_LIMIT_STORAGE_URI must begin with redis:// or rediss://",
        "  PORT must be less than or equal to 65535",
    ]


@pytest.mark.parametrize("key", [None, "", " , "])
def test_without_a_proxy_key_nothing_starts_unless_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str | None
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")
    if key is not None:
        monkeypatch.setenv("PROXY_KEY", key)
    with pytest.raises(SystemExit):
        load(Settings)
    assert "ALLOW_NO_PROXY_KEY=1" in capsys.readouterr().err
    monkeypatch.setenv("ALLOW_NO_PROXY_KEY", "1")
    assert load(Settings).proxy_keys == ()


def test_secrets_are_neither_in_repr_nor_in_complaints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROXY_KEY", "very-secret")
    monkeypatch.setenv("STRIPE_SECRET", "sk_test_very_secret")
    with pytest.raises(SystemExit):
        load(ShopSettings)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")
    settings = load(ShopSettings)
    assert "secret'" not in repr(settings)
    assert "very" not in repr(settings) + str(settings) + capsys.readouterr().err


def test_settings_cannot_be_changed() -> None:
    settings = Settings(proxy_key=SecretStr("k"), google_cloud_project="demo")
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1
