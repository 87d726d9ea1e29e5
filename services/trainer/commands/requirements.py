"""`requirements`: which packages a version asks for, as they were signed."""

import click
import mlflow
from contract import documents
from contract.display import visible
from contract.file_names import IDENTITY
from contract.signature import RUNS_CODE
from contract.version_files import VersionFiles

from trainer.adoption.code_examination import requirements
from trainer.artifact import signing, version_files
from trainer.errors import VersionError
from trainer.settings import Settings
from trainer.tracking import registry


def show(settings: Settings, version: str) -> None:
    """Print the packages, one a line; pip's own options among them are named on stderr and left out.

    Packages come from where this machine is told to find them, and not from an index that a version names.
    """
    signing.check_key(settings.signing_key)
    mlflow.set_tracking_uri(settings.tracking_uri)
    found = registry.model_version(settings.model_name, version)
    with version_files.signed(found, settings.model_name, settings.signing_key) as folder:
        if documents.read_json(folder, IDENTITY).get(RUNS_CODE) is not True:
            raise VersionError(
                f"nobody has vouched for code of version {version}: it needs no packages of its own; "
                f"`adopt {version}{settings.model_option} --allow-code` does"
            )
        lines = requirements(VersionFiles.of(folder))
    for line in lines:
        if line.startswith("-"):
            click.echo(f"left out: {visible(line)}", err=True)
        else:
            click.echo(_package(line))


def _package(line: str) -> str:
    """Return a package without pip's options for it; raise VersionError for one that has what is not shown as it is."""
    package = line.partition(" --")[0].strip()
    if visible(package, None) != package:
        raise VersionError(f"its requirements have a line that is none: {visible(line)}")
    return package
