"""What the process that asks a challenger is told, and what it says at its end."""

import msgspec

from inference.ipc.messages import DeploymentSpec

# Its exit code where the challenger cannot be loaded: why is noted.
REFUSED = 3


class Task(msgspec.Struct, frozen=True):
    """Which versions are asked."""

    settings: bytes
    champion: DeploymentSpec
    challenger: DeploymentSpec
