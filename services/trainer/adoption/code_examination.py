"""What a version is that runs code when it is loaded, as lines for its owner; and what it answers. Runs in a sandbox.

`described` loads nothing: a pickle is read for the names of what it would import, and not built.
"""

import itertools
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from contract import limits
from contract.display import listed
from contract.errors import Refused
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles

from trainer.artifact import golden_samples

REQUIREMENTS = "requirements.txt"
# Where MLflow puts a version's code by default, and what Python imports, wherever it is: that of models from code is in the root.
CODE, CODE_ENDINGS = "code", (".py", ".pyc", ".so", ".zip", ".whl")
PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib")
# Of a pickle, and of how many of them: what is shown is no proof of anything.
MOST_STEPS, MOST_PICKLES = 1_000_000, 20
SHOWN = 40
# How a pickle of protocol 2 or later begins, and a zip file, in which PyTorch has its pickles.
PICKLE, ZIP = b"\x80", b"PK\x03\x04"
TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")
REMEMBERED, RECALLED = ("MEMOIZE", "BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")
# Packages of another build, or another processor, may compute in 32 bits a little otherwise.
TOLERANCE = 1e-4


def described(folder: Path) -> list[str]:
    """Return what a version is, in lines; raise Refused for one that could not be served if its owner vouched for it."""
    files = VersionFiles.of(folder)
    model, content = manifest.read_vouched(files), files.mlmodel()
    function = content["flavors"]["python_function"]
    folders = tuple(f"{str(path).rstrip('/')}/" for path in (CODE, function.get("code") or CODE))
    code = [path for path in files.digests if path.startswith(folders) or path.endswith(CODE_ENDINGS)]
    size = sum((folder / path).stat().st_size for path in files.digests)
    return [
        f"Loaded by the module {model.flavor['loader_module']}; its flavors: {listed(sorted(map(str, content['flavors'])))}",
        f"Logged with MLflow {content.get('mlflow_version', '?')} and Python {function.get('python_version', '?')}",
        f"Its own code: {_shown(code) or 'none'}",
        f"Requirements: {_shown(requirements(files)) or 'none'}",
        *_pickles(files),
        f"Takes {_taken(model)}",
        f"Answers with {_output(model)}",
        f"Files: {len(files.digests)}, {size:,} bytes",
    ]


def requirements(files: VersionFiles) -> list[str]:
    """Return the packages that a version asks for, one a line, without comments."""
    if REQUIREMENTS not in files:
        return []
    text = files.read(REQUIREMENTS, 1 * limits.MB).decode(errors="replace")
    return [
        line for each in text.splitlines() if (line := each.partition(" #")[0].strip()) and not line.startswith("#")
    ]


def golden(folder: Path) -> dict[str, Any]:
    """Return the rows of the input example with the model's answers: this runs its code. Raise Refused where it cannot."""
    from contract.vouched.pyfunc import PyFunc

    files = VersionFiles.of(folder)
    model = manifest.read_vouched(files)
    rows = golden_samples.golden_rows(_example(files, model))
    asked = rows if model.is_named else rows.to_numpy()
    try:
        loaded = PyFunc(folder)
        found, again = loaded.predict(asked).tolist(), loaded.predict(asked).tolist()
        likely = {} if loaded.classes is None else {"probabilities": loaded.probabilities(asked).tolist()}
    except (Exception, SystemExit) as error:  # its code may fail in any way, also for what it may not do here
        raise Refused(f"{type(error).__name__}: {error!s:.500}") from error
    if found != again:
        raise Refused("it does not answer the same rows alike each time")
    return {"instances": golden_samples.as_json(rows), "predictions": found, **likely}


def check_readable(folder: Path) -> None:
    """Read a version that its owner has vouched for as the prediction service does; raise Refused where it is not servable.

    Its code is not run: its packages are in the image that serves it, and need not be here.
    """
    manifest.read_vouched(VersionFiles.of(folder))


def _example(files: VersionFiles, model: Description) -> Any:
    try:
        rows = manifest.example_rows(files, model)
        return golden_samples.from_json(rows, model.columns)
    except ValueError as error:
        raise Refused(f"its input example cannot be used: {error!s:.500}") from error


def _shown(names: list[str]) -> str:
    more = f" … ({len(names)})" if len(names) > SHOWN else ""
    return ", ".join(name[:200] for name in names[:SHOWN]) + more


def _taken(model: Description) -> str:
    columns = [f"{column.name} ({column.type_name})" for column in model.columns]
    count = f"{len(columns)} column{'' if len(columns) == 1 else 's'}"
    found = f"{count}: {_shown(columns)}" if model.is_named else f"an array of {count}"
    if model.shape is not None:
        found = f"an array of the shape ({', '.join(map(str, ('rows', *model.shape)))})"
    return f"{found}; params: {_shown(list(model.params))}" if model.params else found


def _output(model: Description) -> str:
    what = f"the type {model.output}" if model.output else "a type that its signature does not say"
    return f"{model.width} values for each row, of {what}" if model.width > 1 else f"one value for each row, of {what}"


def _pickles(files: VersionFiles) -> Iterator[str]:
    """Yield a line for each file with a pickle in it: what that would import."""
    found = ((path, names) for path in files.digests if (names := _imports(files.folder / path)) is not None)
    for count, (path, names) in enumerate(found):
        if count == MOST_PICKLES:
            yield f"More than {MOST_PICKLES} of its files have pickles: the others were not looked at"
            return
        yield f"Pickled in {path}: {_shown(names)}"


def _imports(path: Path) -> list[str] | None:
    """Return what the pickles of a file would import, None where there is none in it.

    A pickle may be packed, or begin in another way: of one that has the name alone, nothing can be told.
    """
    otherwise = ["cannot be told"] if path.name.endswith(PICKLE_ENDINGS) else None
    with path.open("rb") as file:
        start = file.read(len(ZIP))
        file.seek(0)
        if start[:1] == PICKLE:
            return sorted(set(_named(file)))
        if start != ZIP:
            return otherwise
        try:
            with zipfile.ZipFile(file) as archive:
                inner = [name for name in archive.namelist() if name.endswith(".pkl")][:MOST_PICKLES]
                return sorted({name for one in inner for name in _named(archive.open(one))}) if inner else otherwise
        except zipfile.BadZipFile:
            return otherwise


def _named(file: IO[bytes]) -> Iterator[str]:
    """Yield what a pickle names to be imported, as far as it can be read: arrays of joblib's are in between."""
    texts: list[str] = []
    memo: dict[int, str | None] = {}
    text: str | None = None  # what was put on the stack last, where it is one
    try:
        for code, argument, _ in itertools.islice(pickletools.genops(file), MOST_STEPS):
            if code.name in REMEMBERED:
                memo[len(memo) if argument is None else int(argument)] = text
                continue
            text = (
                str(argument) if code.name in TEXTS else memo.get(int(argument or 0)) if code.name in RECALLED else None
            )
            if text is not None:
                texts.append(text)
            elif code.name == "STACK_GLOBAL":
                yield ".".join(texts[-2:])
            elif code.name == "GLOBAL":
                yield str(argument).replace(" ", ".")
    except (ValueError, OverflowError, EOFError):
        yield "… (it cannot be read to its end)"
