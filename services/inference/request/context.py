"""One request on its way through the service: what each step has found out of it, for those that follow."""

from collections.abc import Callable
from typing import Any

from inference.errors import RequestError
from inference.model.deployment import Deployment
from inference.request.routing import Route
from inference.rollout.active_model import ActiveModel
from inference.telemetry.tracing import Trace, unmarked

Environ = dict[str, Any]
"""a request's head as WSGI describes it"""


class RequestContext:
    """What is known of a request."""

    # With weak references, so that a test can tell that none outlives its answer.
    __slots__ = (
        "__weakref__",
        "answerer",
        "began",
        "body",
        "endpoint",
        "environ",
        "error_code",
        "is_aside",
        "is_checked",
        "key",
        "mark",
        "refusal",
        "request_id",
        "route",
        "served",
        "trace",
        "waited",
    )

    def __init__(self, environ: Environ, route: Route, began: float) -> None:
        self.environ, self.route, self.began = environ, route, began
        """`began`: when its head had come, by time.perf_counter"""
        self.body: bytes = b""
        """as it came, compressed where it says so"""
        self.waited: float | None = None
        """seconds that it has waited for its turn on its connection; None where it did not come by one"""
        self.is_aside = False
        """whether it is answered in a thread of its own, where nobody waits for it"""
        self.refusal: RequestError | None = None
        """why it is refused, where that was known before its body had come"""
        self.is_checked = False
        """whether it was found that it is not refused, whatever its body is"""
        self.request_id = ""
        self.endpoint = route.endpoint
        """what it is counted as; empty for what no route predicts, until Flask has said which page it is"""
        self.served: Deployment | None = None
        """who predicts, None while no model is served"""
        self.answerer: Deployment | ActiveModel
        """the same, or what stands for it while there is none: whose name and version the answer bears"""
        self.key: str | None = None
        """the name of its API key"""
        self.error_code = ""
        """what went wrong in Flask"""
        self.trace: Trace | None = None
        self.mark: Callable[[str], None] = unmarked
        """notes that a stage has ended, where the request is traced"""

    @property
    def is_waited_for(self) -> bool:
        """Whether others wait for it to be answered."""
        return self.waited is not None and not self.is_aside
