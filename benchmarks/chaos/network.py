"""Networks that are cut, names that nobody resolves, and a way to MLflow that is slow."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from chaos import relay
from chaos.fault import HOLD, Fault, held
from chaos.registry import moves

from tests.compose import Stack, docker
from tests.faults import cut_off, without_names

NAMELESS = 20
"""seconds without names: what resolves them is patient"""


def faults() -> Iterator[Fault]:
    """Yield them in the order in which they are injected."""
    yield f"mlflow off the network tracking for {HOLD} s", lambda stack: held(cut_off(stack, "mlflow", "tracking"))
    yield (
        f"inference off it, and so without its port, for {HOLD} s",
        lambda stack: held(cut_off(stack, "inference", "tracking")),
    )
    for service in ("inference", "mlflow"):
        yield f"no names resolved in {service} for {NAMELESS} s", partial(nameless, service=service)
    yield (
        f"the way to MLflow slow, by a relay: {relay.DELAY * 1000:.0f} ms each way, {relay.SHARE:.0%} of chunks {relay.LATE:g} s "
        "late: four moves of the alias",
        slow,
    )


def nameless(stack: Stack, service: str) -> None:
    held(without_names(stack, service), NAMELESS)


def slow(stack: Stack) -> None:
    with relayed(stack):
        moves(stack, count=4, pause=0)


@contextmanager
def relayed(stack: Stack) -> Iterator[None]:
    """Put a container with relay.py in MLflow's place on the network `tracking`: kernels mostly have no netem.

    Only what goes to MLflow in that network is slow, such as the looks and the downloads of the prediction service. What comes
    to the published ports is not.
    """
    name, network = f"{stack.name}-relay", f"{stack.name}_tracking"
    containers = stack.containers()
    mlflow, image = containers["mlflow"]["Id"], containers["inference"]["Image"]
    place = (f"--name={name}", f"--network={network}", "--network-alias=mlflow", "--entrypoint=python")
    with cut_off(stack, "mlflow", "tracking"):
        docker("network", "connect", "--alias", relay.BEHIND, network, mlflow)
        docker("run", "--detach", "--init", *place, image, "-c", Path(relay.__file__).read_text())
        try:
            yield
        finally:
            docker("rm", "--force", name)
            docker("network", "disconnect", network, mlflow)
