"""Resend's errors: https://resend.com/docs/api-reference/errors."""


class ResendError(Exception):
    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self._name = name
        self._message = message

    def body(self) -> dict[str, object]:
        return {"statusCode": self.status, "name": self._name, "message": self._message}


def invalid(message: str) -> ResendError:
    return ResendError(422, "validation_error", message)


def missing(field: str) -> ResendError:
    return ResendError(422, "missing_required_field", f"Missing `{field}` field.")
