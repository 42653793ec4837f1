"""Configuration, read once in ``__main__`` from the environment and frozen from then on.

A service subclasses ``Settings`` with its own names (``STRIPE_SECRET`` and so on). Nothing else reads ``os.environ``.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, NoReturn, TypeVar

from aiohttp import web
from google.auth.exceptions import DefaultCredentialsError
from pydantic import Field, SecretStr, StringConstraints, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_MAX_TICKETS_PER_ITEM = 20
GOOGLE_CERTS_URL = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
CONFIGURATION_ERROR = 2
"""Exit code of a process that was configured wrongly, so that a supervisor need not retry it."""


class Settings(BaseSettings):
    """What every service needs. A field is read from the variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    allow_no_proxy_key: bool = False
    proxy_key: SecretStr | None = Field(default=None, validate_default=True)
    admin_auth: Literal["token", "proxy"] = "token"
    id_token_certs_url: str = GOOGLE_CERTS_URL

    google_cloud_project: Annotated[str, StringConstraints(min_length=1)]
    firestore_emulator_host: str | None = None

    max_tickets_per_item: Annotated[int, Field(ge=1, le=500)] = DEFAULT_MAX_TICKETS_PER_ITEM
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024

    rate_limits: bool = True
    rate_limit_storage_uri: SecretStr | None = None
    rate_limit_patience_seconds: Annotated[float, Field(gt=0, le=10)] = 0.5
    """How long the storage may take before a replica counts for itself."""
    """``redis://...`` or ``rediss://...``, where replicas count together; each process for itself without one."""
    trusted_proxy_hops: Annotated[int, Field(ge=0, le=10)] = 0
    """How many proxies of ours append to X-Forwarded-For before a request reaches the service."""

    job_poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """How long one look around for jobs that other processes left behind takes."""

    commit_deadline_seconds: Annotated[float, Field(gt=0, le=300)] = 15.0
    """How long a change of state may take, retries included, before the request is answered 503."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 5.0
    shutdown_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 20.0

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"

    @field_validator("proxy_key")
    @classmethod
    def _key_or_consent(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if _split(key) or info.data.get("allow_no_proxy_key"):
            return key
        raise PydanticCustomError(
            "proxy_key_missing",
            "is not set: give the key that the proxies send as x-proxy-key (several, comma separated, while one is"
            " being rotated), or set ALLOW_NO_PROXY_KEY=1 to serve without one",
        )

    @field_validator("rate_limit_storage_uri")
    @classmethod
    def _redis_uri(cls, uri: SecretStr | None) -> SecretStr | None:
        if uri is None or uri.get_secret_value().startswith(("redis://", "rediss://")):
            return uri
        raise PydanticCustomError("rate_limit_storage_uri", "must begin with redis:// or rediss://")

    @property
    def proxy_keys(self) -> tuple[str, ...]:
        """The keys accepted in ``x-proxy-key``; none means that every request passes."""
        return _split(self.proxy_key)


SETTINGS = web.AppKey("settings", Settings)
S = TypeVar("S", bound=Settings)


def load(settings: type[S]) -> S:
    """The settings from the environment; a wrong environment ends the process, naming every problem at once."""
    from_environment: Callable[..., S] = settings  # every argument comes from the environment
    try:
        return from_environment()
    except ValidationError as error:
        _refuse_to_start(error.errors(include_url=False, include_input=False))


@contextlib.contextmanager
def google_credentials() -> Iterator[None]:
    """Around what connects to Firestore: missing credentials end the process as wrong settings do."""
    try:
        yield
    except DefaultCredentialsError:
        sys.stderr.write(
            "There are no credentials for Google's Firestore: set GOOGLE_APPLICATION_CREDENTIALS to the file of a"
            " service account, or FIRESTORE_EMULATOR_HOST to use an embedded Firestore.\n"
        )
        raise SystemExit(CONFIGURATION_ERROR) from None


def _refuse_to_start(problems: list[ErrorDetails]) -> NoReturn:
    lines = [f"  {_variable(problem)} {_sentence(problem)}" for problem in problems]
    sys.stderr.write("The configuration cannot be used; set or correct these variables:\n" + "\n".join(lines) + "\n")
    raise SystemExit(CONFIGURATION_ERROR)


def _variable(problem: ErrorDetails) -> str:
    return str(problem["loc"][0]).upper() if problem["loc"] else "configuration:"


def _sentence(problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return "is not set"
    text = problem["msg"].replace("Input should be", "must be")
    return text if text[0].islower() else f"is wrong: {text[0].lower()}{text[1:]}"  # ours begin with a verb


def _split(key: SecretStr | None) -> tuple[str, ...]:
    given = key.get_secret_value() if key else ""
    return tuple(part for part in (piece.strip() for piece in given.split(",")) if part)
