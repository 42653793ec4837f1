"""Logging as it was, after a test that has configured it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from shared.logs import OURS


@contextmanager
def restored_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
        for name in OURS:
            logging.getLogger(name).setLevel(logging.NOTSET)
        structlog.reset_defaults()
        logging.captureWarnings(capture=False)
