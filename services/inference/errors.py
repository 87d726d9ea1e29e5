"""What can go wrong in the inference service.

InferenceError
├── SettingsError           an environment variable is unusable: the service does not start
├── RegistryUnreachable     MLflow does not answer: what is served goes on
├── NoModel                 MLflow answers that nothing is behind the alias
├── FetchFailed             a version's files did not arrive whole: tried again
├── ModelRefused            a version cannot or may not be served: the one before it goes on
└── RequestError            the client's mistake or bad luck: becomes an HTTP answer
    ├── InvalidInput        400
    └── NotReady            503
"""


class InferenceError(Exception):
    """The base of all errors that this service raises itself."""


class SettingsError(InferenceError):
    """An environment variable is empty, ill-typed or out of range."""


class RegistryUnreachable(InferenceError):
    """MLflow does not answer, or answers with an error of its own."""


class NoModel(InferenceError):
    """MLflow answers that no version has the alias."""


class FetchFailed(InferenceError):
    """A version's files could not be brought into the cache."""


class ModelRefused(InferenceError):
    """A version's files are not what this service can serve, or trusts."""


class RequestError(InferenceError):
    """An answer that is not a prediction."""

    status = 500
    error_code = "INTERNAL_ERROR"

    def __init__(self, message: str, where: str | None = None) -> None:
        super().__init__(message)
        self.where = where


class InvalidInput(RequestError):
    """The request's body is not what the model takes; `where` points into it, such as instances[3][2]."""

    status = 400
    error_code = "INVALID_PARAMETER_VALUE"


class NotReady(RequestError):
    """There is no model to answer with yet."""

    status = 503
    error_code = "TEMPORARILY_UNAVAILABLE"
