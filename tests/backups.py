"""Backups of a stack, made and restored as people do, and the fixture of a release: `python -m tests.backups VERSION`.

A fixture, tests/fixtures/release-VERSION, has a repository with one backup of a stack of that release, which was made for nothing
else, with its password; a question and the answer; and what the registry had. Later code restores and upgrades it
(tests/stack/test_in_case_of_loss.py). Until the release is tagged it is made anew, of the code that will be; afterwards never.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import requests

from tests.compose import BODY, Stack, docker, eventually

FIXTURES = Path(__file__).parent / "fixtures"
# Prints the digest of each file of each version.
DIGESTS = """
import hashlib, mlflow
from pathlib import Path
for version in sorted(mlflow.MlflowClient().search_model_versions("name='iris_logistic_regression'"), key=lambda v: int(v.version)):
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=f"FOLDER/{version.version}"))
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "registered_model_meta":
            print(version.version, file.relative_to(folder), hashlib.sha256(file.read_bytes()).hexdigest())
"""
FREEZE = """
until file=$(grep -lsxz -e "$1" /proc/[0-9]*/cmdline) && process=$(cut -d/ -f3 <<<"$file" | tail -n 1) && kill -STOP "$process"; do :; done
echo "$process"
"""


def answer_of(stack: Stack, question: str = BODY) -> bytes:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{stack.url}/predict_names", question, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.content


def digests(stack: Stack, folder: Path) -> str:
    """Return a line for each file of each version; they are downloaded into the folder."""
    found = stack.notebook(DIGESTS.replace("FOLDER", str(folder)))
    assert found.returncode == 0, found.stderr
    return found.stdout


def backup(stack: Stack, *command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    stack.write_env(**settings)
    return stack.compose("--progress", "quiet", "run", "--rm", "-T", "backup", *command, check=False)


def shown_by(made: "subprocess.CompletedProcess[str]") -> tuple[str, str]:
    """Return the id of the backup that was made and the password that was shown, each empty where there is none."""
    ids = re.findall(r"^Backup ([0-9a-f]{8}) of", made.stdout, re.MULTILINE)
    passwords = re.findall(r"^ {4}(\S{32})$", made.stdout, re.MULTILINE)
    return "".join(ids), "".join(passwords)


def restore(stack: Stack, password: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["scripts/restore", *arguments],
        cwd=stack.folder,
        env=stack.environ(),
        input=f"{password}\n",
        capture_output=True,
        text=True,
        timeout=600,
    )


def begin(stack: Stack, *command: str) -> "subprocess.Popen[str]":
    """Start a command in the stack's folder, in a process group of its own as a terminal does, and do not wait for its end."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=stack.folder, env=stack.environ(), stdin=pipe, stdout=pipe, stderr=pipe, text=True, process_group=0
    )


def frozen(stack: Stack, service: str, argument: str) -> tuple[str, str]:
    """Freeze the program that has this argument, as soon as a container of `run` runs it; return the container and the process."""
    labels = (f"project={stack.name}", f"service={service}", "oneoff=True")
    filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
    pattern = f"{argument[:-1]}[{argument[-1]}]"  # which does not find the one who looks

    def found() -> tuple[str, str] | None:
        for container in docker("ps", "--quiet", *filters).split():
            command = ["docker", "exec", container, "timeout", "20", "bash", "-c", FREEZE, "-", pattern]
            looked = subprocess.run(command, capture_output=True, text=True)
            if looked.returncode == 0:
                return container, looked.stdout.strip()
        return None

    caught: tuple[str, str] = eventually(f"a program with {argument} is frozen", found)
    return caught


def registry(stack: Stack, folder: Path) -> dict[str, Any]:
    """Return what a restored stack has to have as well: the alias, all tags, the history among them, and each file's digest."""
    model = stack.api("registered-models/get", name="iris_logistic_regression")["registered_model"]
    return {
        "alias": stack.alias(),
        "versions": {number: [version["run_id"], version["tags"]] for number, version in stack.versions().items()},
        "tags": {tag["key"]: tag["value"] for tag in model["tags"]},
        "files": digests(stack, folder).splitlines(),
    }


def make_fixture(stack: Stack, fixture: Path, folder: Path) -> None:
    """Write the fixture from a stack that is down: two versions, of which the second one was promoted by hand."""
    stack.up()
    stack.compose("run", "--rm", "trainer", "train")
    if stack.alias() != "2":
        stack.compose("run", "--rm", "trainer", "promote", "2")
    made = backup(stack, BACKUP_REPOSITORY=str(fixture / "repository"))
    _, password = shown_by(made)
    if not password:
        raise SystemExit(f"no backup was made: {made.stderr or made.stdout}")
    (fixture / "password").write_text(f"{password}\n")
    (fixture / "question.json").write_text(f"{BODY}\n")
    (fixture / "answer.json").write_bytes(answer_of(stack))
    (fixture / "registry.json").write_text(f"{json.dumps(registry(stack, folder / 'files'), indent=1)}\n")


def main() -> None:
    """Make the fixture of the release that is named, out of this working tree. Needs Docker, and takes two minutes."""
    if len(sys.argv) != 2 or not re.fullmatch(r"\d+\.\d+\.\d+", sys.argv[1]):
        raise SystemExit("expected: python -m tests.backups VERSION, such as 0.3.0")
    version = sys.argv[1]
    fixture = FIXTURES / f"release-{version}"
    tagged = subprocess.run(
        ["git", "tag", "--list", f"v{version}"], cwd=FIXTURES, capture_output=True, text=True, check=True
    )
    if tagged.stdout:
        raise SystemExit(f"v{version} is tagged: what that release has left behind is never made anew")
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "clone").mkdir()
        stack = Stack(Path(name) / "clone", f"mlflow-stack-{version.replace('.', '-')}")
        try:
            shutil.rmtree(fixture, ignore_errors=True)  # of earlier code of the same release
            make_fixture(stack, fixture, Path(name))
        finally:
            stack.remove()


if __name__ == "__main__":
    main()
