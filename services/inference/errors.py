"""What can go wrong in the inference service.

InferenceError
├── SettingsError           an environment variable is unusable: the service does not start
├── KeysUnusable            the file of API keys, or what is to be written into it, is: nobody is let in
├── RegistryUnreachable     MLflow does not answer: what is served goes on
├── NoModel                 MLflow answers that nothing is behind the alias
├── FetchFailed             a version's files did not arrive whole: tried again
│   └── VersionLost         they are gone from where they were: the version from the registry, or files from the store
├── SpoolFull, SegmentUnusable, StoreUnusable, LabelsUnusable   of the prediction log: predictions go on
├── ModelRefused            a version cannot or may not be served: the one before it goes on
│   └── ProcessEnded        the process that was to look at it, or to load it, did not survive that
└── RequestError            the client's mistake or bad luck: becomes an HTTP answer
    ├── InvalidInput            400
    ├── Unauthorized            401
    ├── Forbidden               403
    ├── NotFound                404
    ├── MethodNotAllowed        405
    ├── RequestEntityTooLarge   413
    ├── UnsupportedMediaType    415
    ├── TooManyRequests         429
    └── ServiceUnavailable      503
        ├── NotReady            there is no model yet
        └── Overloaded          there is more to do than can be done in time

Those of HTTP have Werkzeug's names and arguments, and not its classes: docs/decisions/hand-written.md says why.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from contract.errors import Refused


class InferenceError(Exception):
    """The base of all errors that this service raises itself."""


class SettingsError(InferenceError):
    """An environment variable is empty, ill-typed or out of range."""


class KeysUnusable(InferenceError):
    """The file of API keys cannot be read, or what is to be written into it is no key."""


class RegistryUnreachable(InferenceError):
    """MLflow does not answer, or answers with an error of its own."""


class NoModel(InferenceError):
    """MLflow answers that no version has the alias: not yet, or not any more where `any_more` is known to be so."""

    def __init__(self, what: str, details: str = "") -> None:
        super().__init__(f"{what} yet{details}")
        self.any_more = f"{what} any more{details}"


class FetchFailed(InferenceError):
    """A version's files could not be brought into the cache."""


class VersionLost(FetchFailed):
    """A version is gone from the registry, or its files are from the artifact store."""


class ModelRefused(InferenceError):
    """A version's files are not what this service can serve, or trusts."""


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what the contract refuses of a version's files into a ModelRefused."""
    try:
        yield
    except Refused as error:
        raise ModelRefused(str(error)) from error


class ProcessEnded(ModelRefused):
    """A process ended, or had to be ended, over a version: it is not tried again soon."""


class SpoolFull(InferenceError):
    """The spool of the prediction log has as much in it as it may have."""


class SegmentUnusable(InferenceError):
    """A segment of the prediction log's spool is not what a worker has written."""


class NewerLayout(SegmentUnusable):
    """A segment of the prediction log's spool is a newer release's."""


class LabelsUnusable(InferenceError):
    """A file of labels cannot be read, or the service takes none of it."""


class StoreUnusable(InferenceError):
    """Where the prediction log is kept cannot be written, or not reached."""


class RequestError(InferenceError):
    """An answer that is not a prediction."""

    status = 500
    error_code = "INTERNAL_ERROR"
    is_early = False
    """whether a client that goes on sending a large body has its answer before the end of it"""

    def __init__(self, message: str, where: str | None = None) -> None:
        super().__init__(message)
        self.where = where

    def headers(self) -> list[tuple[str, str]]:
        """Return what the answer's head says of the error."""
        return []

    def alone(self) -> "RequestError":
        """Return the error without where it comes from: in those frames, all of a large request would live on with it."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class InvalidInput(RequestError):
    """The request's body is not what the model takes; `where` points into it, such as instances[3][2]."""

    status = 400
    error_code = "INVALID_PARAMETER_VALUE"


class Unauthorized(RequestError):
    """The request bears no API key that is known; `is_page` where a person's browser is to ask for one."""

    status = 401
    error_code = "UNAUTHENTICATED"
    is_early = True

    def __init__(self, message: str, is_page: bool = False) -> None:
        super().__init__(message)
        self.is_page = is_page

    def headers(self) -> list[tuple[str, str]]:
        asked = ("WWW-Authenticate", 'Basic realm="an API key as the password", charset="UTF-8"')
        return [("WWW-Authenticate", "Bearer"), *([asked] if self.is_page else [])]


class Forbidden(RequestError):
    """The request is not addressed to this service, comes from a foreign web page, or its API key is for something else."""

    status = 403
    error_code = "PERMISSION_DENIED"


class NotFound(RequestError):
    """There is nothing under this path."""

    status = 404
    error_code = "RESOURCE_DOES_NOT_EXIST"


class MethodNotAllowed(RequestError):
    """The path has no such method; `valid_methods` are those that it has."""

    status = 405
    error_code = "METHOD_NOT_ALLOWED"

    def __init__(self, message: str, valid_methods: Iterable[str]) -> None:
        super().__init__(message)
        self.valid_methods = valid_methods

    def headers(self) -> list[tuple[str, str]]:
        return [("Allow", ", ".join(self.valid_methods))]


class RequestEntityTooLarge(RequestError):
    """The body is larger than the limit."""

    status = 413
    error_code = "REQUEST_ENTITY_TOO_LARGE"


class UnsupportedMediaType(RequestError):
    """The body is not declared as something that is read here."""

    status = 415
    error_code = "UNSUPPORTED_MEDIA_TYPE"


class TooManyRequests(RequestError):
    """The API key has used up its rate; `retry_after` in whole seconds."""

    status = 429
    error_code = "REQUEST_LIMIT_EXCEEDED"
    is_early = True

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.retry_after))]


class ServiceUnavailable(RequestError):
    """Not now; the same request may be answered later."""

    status = 503
    is_early = True
    error_code = "TEMPORARILY_UNAVAILABLE"
    retry_after = 5
    """seconds"""

    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.retry_after))]


class NotReady(ServiceUnavailable):
    """There is no model to answer with yet."""


class Overloaded(ServiceUnavailable):
    """There is more to do than can be done in time."""

    error_code = "RESOURCE_EXHAUSTED"
    retry_after = 1
