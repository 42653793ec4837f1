"""What the server answers instead of a result; the servicer turns the code into a gRPC status."""

from typing import ClassVar

from grpc import StatusCode


class FirestoreError(Exception):
    """``str(error)`` is the sentence that the client reads."""

    code: ClassVar[StatusCode] = StatusCode.INTERNAL


class InvalidArgument(FirestoreError):  # noqa: N818  the names of gRPC's statuses
    code = StatusCode.INVALID_ARGUMENT


class FailedPrecondition(FirestoreError):  # noqa: N818  the names of gRPC's statuses
    code = StatusCode.FAILED_PRECONDITION


class NotFound(FirestoreError):  # noqa: N818  the names of gRPC's statuses
    code = StatusCode.NOT_FOUND


class AlreadyExists(FirestoreError):  # noqa: N818  the names of gRPC's statuses
    code = StatusCode.ALREADY_EXISTS


class Aborted(FirestoreError):  # noqa: N818  the names of gRPC's statuses
    code = StatusCode.ABORTED


class Unimplemented(FirestoreError):  # noqa: N818  the names of gRPC's statuses
    code = StatusCode.UNIMPLEMENTED
