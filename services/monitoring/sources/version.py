"""The version that is looked at: found in the registry, and its profile read as the prediction service reads a version's files.

Whoever reaches MLflow decides what is there. So what is read is what the trainer has signed as this very version, checked in the process
that the service has for it.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from contract import signature
from contract.display import visible
from contract.errors import Refused
from contract.file_names import FIGURES, IDENTITY, PROFILE, SIGNATURE
from contract.version_files import VersionFiles
from inference.errors import FetchFailed, ModelRefused, NoModel, RegistryUnreachable, VersionLost
from inference.model.version import ModelVersion
from inference.rollout import download
from inference.rollout.registry import connect
from inference.trust import Trust
from inference.verification.client import Verifier
from monitoring.errors import NoAnswer, NoReference
from monitoring.settings import Settings
from monitoring.sources.reference import UNREADABLE, Reference, of_profile

READ = (IDENTITY, PROFILE, FIGURES)


def found(settings: Settings, number: str | None) -> tuple[ModelVersion, Reference]:
    """Return the version of a number, None for the one behind the alias, and its reference; raise NoAnswer or NoReference."""
    service = settings.service
    registry = connect(service.tracking_uri, service.model_name, service.model_alias)
    with _told():
        version = registry.current() if number is None else registry.numbered(number)
        return version, _reference(settings, registry.location(version), version)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (NoModel, ModelRefused, VersionLost, Refused) as error:
        raise NoReference(str(error)) from error
    except (RegistryUnreachable, FetchFailed, OSError) as error:
        raise NoAnswer(str(error)) from error


def _reference(settings: Settings, location: str, version: ModelVersion) -> Reference:
    with TemporaryDirectory() as parent:
        files = _files(settings, location, version, Path(parent))
        if PROFILE not in files:
            raise NoReference(
                f"{version.uri} has no {PROFILE}, which a training writes: a version that was logged by hand has none to compare with"
            )
        try:
            return of_profile(files.json(PROFILE), files.json(FIGURES) if FIGURES in files else None)
        except UNREADABLE as error:
            said = visible(f"{type(error).__name__}: {error}", 300)
            raise NoReference(f"the {PROFILE} of {version.uri} cannot be read: {said}") from error


def _files(settings: Settings, location: str, version: ModelVersion, folder: Path) -> VersionFiles:
    """Return those of a version's files that are read here, signed as this very version unless MODEL_TRUST says otherwise."""
    service = settings.service
    if service.trust is not Trust.SIGNED:
        download.fetch(version, location, service.tracking_uri, folder)
        return VersionFiles.of(folder)
    digests: dict[str, str] = {}
    verifier = Verifier(settings.verifying_key)

    def listed(path: Path) -> Collection[str]:
        signed = verifier.listed(path)
        digests.update({name: signed[name] for name in READ if name in signed})
        return digests

    try:
        download.fetch(version, location, service.tracking_uri, folder, listed)
    finally:
        verifier.end()
    (folder / SIGNATURE).unlink()
    files = VersionFiles(folder, digests)
    signature.check_identity(files.json(IDENTITY), version.name, version.model_id)
    return files
