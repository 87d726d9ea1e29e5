"""What a request is refused for whatever its body says: from where it comes, who sends it, and how large it is."""

from inference.api_keys.keyring import Keyring
from inference.errors import InvalidInput, MethodNotAllowed, NotReady, RequestEntityTooLarge
from inference.model.pacing import TakesLong
from inference.request import content_coding
from inference.request.admission import LARGE_BYTES
from inference.request.allowed_hosts import AllowedHosts
from inference.request.context import RequestContext
from inference.request.routing import scope_of
from inference.rollout.active_model import ActiveModel, Deployments


class RequestChecks:
    """Lets requests pass, or raises RequestError."""

    def __init__(self, hosts: AllowedHosts, keys: Keyring, deployments: Deployments, max_body_bytes: int) -> None:
        self.hosts, self.keys = hosts, keys
        self._deployments, self._max_body_bytes = deployments, max_body_bytes

    def check(self, context: RequestContext) -> None:
        """Raise RequestError where a prediction is refused whatever its body is; once for each request."""
        if context.is_checked:
            return
        self.check_address(context)
        self.check_key(context)
        environ = context.environ
        if (method := environ["REQUEST_METHOD"]) != "POST":
            raise MethodNotAllowed(f"{environ['PATH_INFO']} takes POST, and not {method}", ("OPTIONS", "POST"))
        if (active := self._deployments.asked(context.route.model)).served is None:
            raise not_ready(active)
        if coding := environ.get("HTTP_CONTENT_ENCODING"):
            content_coding.check_coding(coding)
        self.check_size(int(environ.get("CONTENT_LENGTH") or 0))
        context.is_checked = True

    def check_address(self, context: RequestContext) -> None:
        """Raise Forbidden where it is addressed to another's name, or comes from another's page."""
        environ = context.environ
        origin = environ.get("HTTP_ORIGIN") if environ["REQUEST_METHOD"] == "POST" else None
        self.hosts.check(environ.get("HTTP_HOST"), origin)

    def check_key(self, context: RequestContext) -> None:
        """Raise RequestError where API keys are on, its path asks for one, and the request has none that lets it in."""
        if self.keys.is_on and (scope := scope_of(context.environ["PATH_INFO"])):
            known = self.keys.identify(context.environ)
            context.key = known.key.name
            known.allow(scope)

    def check_size(self, size: int) -> None:
        """Raise RequestEntityTooLarge where a body has too many bytes."""
        if size > self._max_body_bytes:
            raise self._too_large("the body")

    def body_of(self, context: RequestContext) -> bytes:
        """Return a request's body, unpacked; raise TakesLong where it may become large and others wait."""
        if not (coding := context.environ.get("HTTP_CONTENT_ENCODING")):
            return context.body
        most = LARGE_BYTES if context.is_waited_for else self._max_body_bytes
        if (content := content_coding.unpacked(context.body, coding, most)) is not None:
            return content
        if context.is_waited_for:
            raise TakesLong
        raise self._too_large("the unpacked body")

    def _too_large(self, what: str) -> RequestEntityTooLarge:
        most = self._max_body_bytes
        return RequestEntityTooLarge(f"{what} is over the limit of {most} bytes; send fewer rows at a time")


def not_ready(active: ActiveModel) -> NotReady:
    """Return what is said where no model is served."""
    return NotReady(f"no model is served yet: {active.reason}")


def incomplete_body(seen: int, size: int, reason: str, seconds: float) -> InvalidInput:
    """Return what is said of a body that ends early, which had so many seconds.

    It ended after `seen` of `size` bytes, -1 where that is not known.
    """
    if reason:
        return InvalidInput(f"the body could not be read to its end: {reason}")
    said = f"{seen} of the {size} bytes it is said to have" if size >= 0 else f"{seen} bytes, in the middle of a chunk"
    return InvalidInput(f"the body ends after {said}, or took longer than {seconds:g} s")
