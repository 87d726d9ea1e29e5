"""What the processes of the service say to each other about a deployment, typed, and how it is written on their socket.

    poller → worker      Load, Serve, Stop, Drop, Report, Note
    worker → poller      Loaded, Serving, Refused, Returned

A message on the socket is its length, four bytes, and so many of MessagePack. (JSON has no NaN, and a metric may be one.)
"""

import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar, Literal, TypeVar

import msgspec
from msgspec.msgpack import Decoder

from inference.model.version import ModelVersion

log = logging.getLogger("inference")

_LENGTH = struct.Struct("!I")

Phase = Literal["load", "serve"]


def place_of(model: str) -> str:
    """Return what the processes of the service call the place of a model's challenger: no model is called so."""
    return f"{model}\0challenger"


class DeploymentSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version that workers are asked to load or to serve."""

    id: int
    folder: str
    version: ModelVersion
    metrics: dict[str, float]
    since: str
    """when it began to be served, ISO 8601 in UTC"""
    files: dict[str, str]
    """path → SHA-256 of what was verified; nothing else is loaded"""
    description: str
    """what these files say of the model, as who verified them has read it (contract.mlmodel.manifest.Description.to_json)"""


class Attempt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is under way: a version is fetched, verified and loaded."""

    version: str
    since: str
    """ISO 8601 in UTC"""


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What there is to say about what is served."""

    problem: str | None
    """why the version behind the alias is not what is served, None where it is"""
    version: ModelVersion | None = None
    """the served version as the registry describes it now"""
    metrics: dict[str, float] | None = None
    under_way: Attempt | None = None


# What there is to say before anything is known.
NOT_ASKED = "the registry has not been asked yet"


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=str.lower):
    """What is said about one deployment."""

    deployment: str
    """the model's name, or that of its challenger's place"""


class Load(Message, frozen=True):
    """Load this version aside; answered by Loaded or Refused."""

    spec: DeploymentSpec
    phase: ClassVar[Phase] = "load"


class Serve(Message, frozen=True):
    """Answer requests with this version from now on; answered by Serving or Refused."""

    spec: DeploymentSpec
    phase: ClassVar[Phase] = "serve"


class Stop(Message, frozen=True):
    """Answer no request with this any more: the challenger is none any more."""


class Drop(Message, frozen=True):
    """Let go of what was loaded aside."""

    spec_id: int


class Report(Message, frozen=True):
    """What there is to say about what is served."""

    state: State


class Note(Message, frozen=True):
    """The same, as long as it is not known what is to be served."""

    state: State


class Loaded(Message, frozen=True):
    """The version is loaded aside."""

    spec_id: int
    phase: ClassVar[Phase] = "load"


class Serving(Message, frozen=True):
    """Requests are answered with the version."""

    spec_id: int
    at: int
    """since when, in nanoseconds of the clock that all processes share"""
    phase: ClassVar[Phase] = "serve"


class Refused(Message, frozen=True):
    """The version cannot be loaded, or served."""

    spec_id: int
    phase: Phase
    reason: str


class Returned(Message, frozen=True):
    """This worker has returned to Production: it asks the challenger no more, and so is nobody else to."""

    version: ModelVersion
    reason: str


ToWorker = Load | Serve | Stop | Drop | Report | Note
ToPoller = Loaded | Serving | Refused | Returned
FOR_WORKERS: Decoder[ToWorker] = Decoder(ToWorker)
FOR_POLLER: Decoder[ToPoller] = Decoder(ToPoller)
M = TypeVar("M")


def send(connection: socket.socket, message: ToWorker | ToPoller) -> None:
    """Send a message; raise OSError where the other side is gone."""
    content = msgspec.msgpack.encode(message)
    connection.sendall(_LENGTH.pack(len(content)) + content)


def received(connection: socket.socket, decoder: Decoder[M]) -> Iterator[M]:
    """Yield messages until the other side is gone; one that cannot be read is logged and left out."""
    for content in _contents(connection):
        try:
            message = decoder.decode(content)
        except (ValueError, RecursionError) as error:
            log.error("a message from another process of this service cannot be read: %s", error)
        else:
            yield message


def _contents(connection: socket.socket) -> Iterator[bytes]:
    with suppress(OSError), connection.makefile("rb") as stream:
        while len(length := stream.read(_LENGTH.size)) == _LENGTH.size:
            (size,) = _LENGTH.unpack(length)
            if len(content := stream.read(size)) < size:
                return
            yield content
