"""Each command of the workflows, on GitHub and on GitLab, is run: with our own scripts, and stand-ins for what reaches the outside.

The stand-ins, which note how they were called, are docker, cosign, gh and glab, which take a registry, an identity or a repository; sudo; and make, whose
targets run for minutes and are what CI runs anyway: here each has to be one that the Makefile has. That the workflows are workflows is
for actionlint and the schemas to say (`make workflows lint`).
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from runpy import run_path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
GITLAB = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
ON_GITLAB = {name: job for name, job in GITLAB.items() if isinstance(job, dict) and "script" in job}
RETRAIN = run_path(str(ROOT / "scripts/retrain.py"))
OWNER = "r.example/team/stack"
OF = {
    architecture: "sha256:" + 64 * letter for architecture, letter in {"amd64": "a", "arm64": "b", "both": "c"}.items()
}
IMAGES = ("mlflow", "setup", "trainer", "inference", "predictions", "minio", "sso", "backup")
# Each paragraph is one line, and what is a file of the project is one of the tag's.
NOTES = "### Added\n\n- Bread, and [butter]({}/v0.3.0/docs/butter.md).\n- Jam.\n"
RECORD = {
    "model_name": "sales",
    "version": "7",
    "run_id": "0123",
    "algorithm": "random_forest",
    "promoted": True,
    "reason": "higher test accuracy than version 6 | by more than chance",
    "rule": "significant",
    "metric": "accuracy",
    "metrics": {"test_accuracy": 0.91234},
    "data": {"file": "sales.csv", "rows": 150, "sha256": 64 * "d"},
    "attempts_on_this_data": 2,
    "git_commit": None,
    "leaderboard": [
        {"place": 1, "algorithm": "random_forest", "metric": "accuracy", "mean": 0.95, "spread": 0.02},
        {
            "place": None,
            "algorithm": "baseline: always <b>@everybody</b>",
            "metric": "accuracy",
            "mean": 0.5,
            "spread": None,
        },
    ],
}
DOCKER = r"""
echo "docker $*" >>"$HERE/called"
case $* in
    *"config --format json"*) cat "$HERE/config" ;;
    *Config.Labels*) ;;
    *RepoDigests*) sed "s/ARCHITECTURE/$(cat "$HERE/architecture")/" "$HERE/digests" ;;
    "buildx build"*)
        while [ "$1" != --metadata-file ]; do shift; done
        mkdir -p build
        echo '{"containerimage.digest": "ARCHITECTURE"}' | sed "s/ARCHITECTURE/$(cat "$HERE/architecture")/" >"$2" ;;
    login*) cat >/dev/null ;; # the password, which else meets a pipe that nobody reads
    *"imagetools inspect"*) echo '{"digest": "DIGEST"}' ;;
    "compose run"*) echo "[1/5] read and check the data" >&2; cat "$HERE/record"; exit "$(cat "$HERE/code")" ;;
esac
"""
MAKE = r"""
echo "make $*" >>"$HERE/called"
/usr/bin/env -u MAKEFLAGS "$REAL_MAKE" --dry-run -C "$ROOT" "$@" >/dev/null
case $* in
    *sbom*) mkdir -p build/sbom; for image in BILLS; do echo '{}' >"build/sbom/$image.cdx.json"; done ;;
    site*) into=${2##*--into }; mkdir -p "$into/0.3.0"; echo site >"$into/0.3.0/index.html" ;;
esac
"""


@dataclass
class Machine:
    """A checkout, and a PATH on which what reaches the outside is a stand-in."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def called(self) -> list[str]:
        """Return how the stand-ins were called, in order."""
        file = self.folder / "called"
        return file.read_text().splitlines() if file.exists() else []

    def write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content)

    def run(self, text: str, environ: dict[str, str], folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a step's text as the runners do: by bash, up to the first command that fails."""
        kept = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "HERE": str(self.folder),
            "SOURCE_DATE_EPOCH": "1800000000",  # of the commit, where the checkout is one
        }
        kept |= {"ROOT": str(ROOT), "REAL_MAKE": shutil.which("make") or ""}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
        return subprocess.run(
            command, cwd=folder or self.checkout, env=kept | self.environ | environ, capture_output=True, text=True
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return made_in(tmp_path)


def made_in(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.checkout.mkdir()
    shutil.copytree(ROOT / "scripts", made.checkout / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (made.checkout / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [0.3.0]\n\n### Added\n\n- Bread, and\n  [butter](docs/butter.md).\n- Jam.\n\n## [0.2.0]\n\n- Salt.\n"
    )
    (made.checkout / ".gitignore").write_text("/build/\n/release.*\n/retrain/\n")
    (tmp_path / "bin").mkdir()
    bills = " ".join(image for image in IMAGES if image != "backup")
    programs = {"docker": DOCKER.replace("DIGEST", OF["both"]), "make": MAKE.replace("BILLS", bills)}
    programs |= {name: f'printf "%s\\n" "{name} $*" >>"$HERE/called"' for name in ("cosign", "gh", "glab", "sudo")}
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\nset -e\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    services = {
        "postgres": {"image": "postgres:17-trixie"},
        "mlflow": {"image": "s/mlflow", "build": {"args": {"PYTHON_IMAGE": "python:3.13"}}},
    }
    made.write("config", json.dumps({"services": services}))
    of_bases = [f"{name}@{OF['both']}" for name in ("postgres", "python")]
    made.write("digests", "\n".join([*of_bases, *(f"{OWNER}/{image}@ARCHITECTURE" for image in IMAGES), ""]))
    made.write("architecture", OF["amd64"])
    made.write("record", json.dumps(RECORD))
    made.write("code", "0")
    return made


# --- GitHub --------------------------------------------------------------------------------------------------------


def _known(machine: Machine, workflow: str, **of_the_job: str) -> dict[str, str]:
    """Return what the expressions of the workflows come to; one that is not among these fails the test that meets it."""
    return {
        "vars.REGISTRY": "r.example",
        "github.repository": "team/stack",
        "github.token": "token",
        "github.workflow": workflow,
        "github.actor": "somebody",
        "vars.STACK_FOLDER": str(machine.checkout),
        "inputs.arguments || vars.TRAIN_ARGS": "--data 'my sales.csv' --target churned",
        "inputs.pull_request": "12",
        **of_the_job,
    }


def _said(value: object, known: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: known[found[1]], str(value))


def run_job(machine: Machine, workflow: str, job: str, **of_the_job: str) -> dict[str, str]:
    """Run each step of a job that has a text, in order; return what they put out."""
    known = _known(machine, workflow, **of_the_job)
    definition = WORKFLOWS[workflow]["jobs"][job]
    files = {name: machine.folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    environ = {"GITHUB_REF_NAME": "v0.3.0", "GITHUB_REPOSITORY": "team/stack", "RUNNER_TEMP": str(machine.folder)}
    environ |= {name: str(path) for name, path in files.items()}
    environ |= {name: _said(value, known) for name, value in WORKFLOWS[workflow].get("env", {}).items()}
    folder = definition.get("defaults", {}).get("run", {}).get("working-directory")
    for step in definition["steps"]:
        if "run" not in step:
            continue
        assert "${{" not in step["run"], "what others wrote must not become part of a script"
        own = {name: _said(value, known) for name, value in step.get("env", {}).items()}
        result = machine.run(step["run"], environ | own, Path(_said(folder, known)) if folder else None)
        assert result.returncode == 0, f"{step['run']}\n{result.stdout}\n{result.stderr}"
    return {name: path.read_text() if path.exists() else "" for name, path in files.items()}


RUN_BY = {
    ("ci", "style"),
    ("ci", "supply-chain"),
    ("ci", "tests"),
    ("release", "audit"),
    ("release", "images"),
    ("release", "release"),
    ("release", "site"),
    ("retrain", "train"),
    ("retrain", "comment"),
}


def test_every_job_is_run_by_a_test() -> None:
    assert {(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"]} == RUN_BY
    assert set(ON_GITLAB) == {
        "style",
        "supply-chain",
        "tests",
        "images",
        "join",
        "release",
        "pages",
        "retrain",
        "comment",
    }


@pytest.mark.parametrize("job", ["style", "supply-chain", "tests"])
def test_ci_runs_targets_of_the_makefile_the_same_on_github_and_gitlab(machine: Machine, job: str) -> None:
    run_job(machine, "ci", job)
    called = machine.called
    targets = [line for line in called if not line.startswith("sudo ")]
    assert targets
    assert all(line.startswith("make ") for line in targets)
    run_on_gitlab(machine, job)  # where what is needed is on the runner
    assert machine.called == [*called, *targets]
    steps = WORKFLOWS["ci"]["jobs"][job]["steps"]
    (settings,) = [step.get("env", {}) for step in steps if step.get("run", "").startswith("make ")]
    assert {name: str(value) for name, value in settings.items()} == ON_GITLAB[job].get("variables", {})


def test_ci_s_machines_have_for_the_tests_whatever_a_bare_machine_is_given(machine: Machine) -> None:
    run_job(machine, "ci", "tests")
    (install,) = [line for line in machine.called if "install" in line]
    # As ubuntu-24.04 and setup-python have them: Chrome, too.
    of_github = {"make", "curl", "python3-venv", "chromium-headless-shell"}
    installed = {word for word in install.partition(" install ")[2].split() if not word.startswith("-")}
    bare = set(re.findall(r"missing\+=\((\S+)\)", (ROOT / ".ci/run").read_text()))
    assert installed == bare - of_github
    called = {"chromium-headless-shell": "Chrome", "libnss3-tools": "certutil"}
    named = {name: name for name in bare - {"python3-venv"}} | called
    head = (ROOT / ".gitlab-ci.yml").read_text().partition("stages:")[0]
    page = (ROOT / "docs/ci-cd.md").read_text().partition("the tag `docker`")[2].partition("\n\n")[0]
    assert [name for name in named.values() if not (name in head and name in page)] == []


def test_a_release_is_stopped_before_anything_is_pushed_where_the_changelog_says_nothing_of_it(
    machine: Machine,
) -> None:
    run_job(machine, "release", "audit")
    assert machine.called == ["make audit"]
    (machine.checkout / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- Bread.\n")
    result = machine.run("scripts/release-notes 0.3.0", {})
    assert result.returncode == 1
    assert "CHANGELOG.md has nothing under ## [0.3.0]; move what is under ## [Unreleased] there" in result.stderr


@pytest.fixture(scope="module")
def once_built(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Run the job that builds for each architecture, and hand on what it leaves, as the artifacts do."""
    machine = made_in(tmp_path_factory.mktemp("built"))
    for architecture in ("amd64", "arm64"):
        machine.write("architecture", OF[architecture])
        run_job(machine, "release", "images", **{"matrix.architecture": architecture})
        place = machine.checkout / "build/architectures" / architecture
        place.mkdir(parents=True)
        (step,) = (step for step in WORKFLOWS["release"]["jobs"]["images"]["steps"] if "upload" in step.get("uses", ""))
        for name in step["with"]["path"].split():
            shutil.move(machine.checkout / name, place)
    return machine


@pytest.fixture
def built(once_built: Machine, tmp_path: Path) -> Machine:
    return Machine(Path(shutil.copytree(once_built.folder, tmp_path / "built")))


def test_a_release_has_images_of_both_architectures_in_one_each_signed_by_digest(built: Machine) -> None:
    for architecture in ("amd64", "arm64"):
        signed = [f"cosign sign --yes {OWNER}/{image}@{OF[architecture]}" for image in IMAGES]
        assert [line for line in built.called if line in signed] == signed
        output = f"--output type=image,name={OWNER}/mlflow:0.3.0-{architecture},push=true,rewrite-timestamp=true ."
        assert any(line.startswith("docker buildx build ") and line.endswith(output) for line in built.called)
    run_job(built, "release", "release")
    check_joined(built)
    (made,) = (line for line in built.called if line.startswith("gh "))
    bills = " ".join(f"build/sbom/{image}.cdx.json" for image in sorted(set(IMAGES) - {"backup"}))
    assert (
        made
        == f"gh release create v0.3.0 --verify-tag --notes-file build/notes.md release.env release.images compose.release.yaml {bills}"
    )
    notes = (built.checkout / "build/notes.md").read_text()
    assert notes.startswith(NOTES.format("https://github.com/team/stack/blob"))
    assert notes_name(built, notes) == [
        "git clone --branch v0.3.0 https://github.com/team/stack && cd stack",
        "curl -fLO https://github.com/team/stack/releases/download/v0.3.0/compose.release.yaml",
    ]
    issuer = "https://token.actions.githubusercontent.com"
    identity = "https://github.com/team/stack/.github/workflows/release.yml@refs/tags/v0.3.0"
    assert built.called[-1] == VERIFY.format(issuer, identity)


VERIFY = f"cosign verify {OWNER}/inference:0.3.0 --certificate-oidc-issuer {{}} --certificate-identity {{}}"


def notes_name(machine: Machine, notes: str) -> list[str]:
    """Run the line of a release's page that verifies an image; return those that fetch the release."""
    assert f"Each image is signed: {', '.join(IMAGES)}." in notes
    (verify,) = re.findall(r"^    (cosign .+(?:\n {8}.+)*)", notes, re.M)
    assert machine.run(verify, {}).returncode == 0
    return re.findall(r"^    ((?:git|curl) .+)", notes, re.M)


def check_joined(machine: Machine) -> None:
    for image in IMAGES:
        name = f"{OWNER}/{image}"
        parts = f"{name}@{OF['amd64']} {name}@{OF['arm64']}"
        assert f"docker buildx imagetools create --tag {name}:0.3.0 {parts}" in machine.called
        assert f"cosign sign --yes {name}@{OF['both']}" in machine.called
        bill = f"cosign attest --yes --type cyclonedx --predicate build/sbom/{image}.cdx.json {name}@{OF['both']}"
        assert (bill in machine.called) is (image != "backup")
    listed = (machine.checkout / "release.images").read_text().splitlines()
    assert listed == ["# release 0.3.0", *(f"{OWNER}/{image}@{OF['both']}" for image in IMAGES)]
    assert "make release-check ARGS=--published" in machine.called
    assert (machine.checkout / "compose.release.yaml").exists()
    assert f"POSTGRES_IMAGE=postgres:17-trixie@{OF['both']}" in (machine.checkout / "release.env").read_text()


def test_a_release_whose_base_images_moved_between_the_architectures_stops(built: Machine) -> None:
    with (built.checkout / "build/architectures/arm64/release.env").open("a") as file:
        file.write("moved\n")
    with pytest.raises(AssertionError, match=r"cmp: EOF on|differ"):
        run_job(built, "release", "release")
    assert not any("imagetools" in line or line.startswith("gh ") for line in built.called)


def test_an_architecture_that_lacks_an_image_stops_before_anything_is_joined(built: Machine) -> None:
    listed = built.checkout / "build/architectures/arm64/release.images"
    listed.write_text("".join(line for line in listed.read_text().splitlines(True) if "/trainer@" not in line))
    with pytest.raises(AssertionError, match="has no image trainer; all architectures have to be built"):
        run_job(built, "release", "release")
    assert not any("imagetools" in line for line in built.called)


def with_origin(machine: Machine) -> str:
    """Make the checkout one of a repository; return that one's address."""
    git = ["git", "-C", str(machine.checkout), "-c", "user.name=x", "-c", "user.email=x@localhost"]
    origin = str(machine.folder / "origin.git")
    subprocess.run(["git", "init", "--quiet", "--bare", origin], check=True)
    for words in (
        ["init", "--quiet"],
        ["add", "."],
        ["commit", "--quiet", "-m", "x"],
        ["remote", "add", "origin", origin],
    ):
        subprocess.run([*git, *words], check=True)
    return origin


def shown_in(origin: str) -> str:
    shown = subprocess.run(["git", "-C", origin, "show", "gh-pages:0.3.0/index.html"], capture_output=True, text=True)
    return shown.stdout or shown.stderr


def test_the_site_of_a_release_is_added_to_the_branch_of_the_sites(machine: Machine) -> None:
    origin = with_origin(machine)
    run_job(machine, "release", "site")
    assert shown_in(origin) == "site\n"


# --- training again ------------------------------------------------------------------------------------------------

COMMAND = "docker compose run --rm -T trainer train --if-new --json --data my sales.csv --target churned"


def outputs(file: str) -> dict[str, str]:
    """Return what a step has put out, as the runner reads it."""
    return {name: text for name, _, text in re.findall(r"^(\w+)<<(\w+)\n(.*?)\n\2$", file, re.M | re.S)}


def test_a_training_s_decision_and_leaderboard_are_the_summary_and_a_comment(machine: Machine) -> None:
    files = run_job(machine, "retrain", "train")
    assert machine.called == [COMMAND]
    summary = files["GITHUB_STEP_SUMMARY"]
    assert "### Version 7 of sales is promoted" in summary
    assert "higher test accuracy than version 6 &#124; by more than chance." in summary
    assert "| trainings that these held-out rows have judged | 2 |" in summary
    assert "| 1 | random&#95;forest | 0.95 | ± 0.02 |" in summary
    assert "|  | baseline: always &#60;b&#62;&#64;everybody&#60;/b&#62; | 0.5 | ±  |" in summary
    (text,) = outputs(files["GITHUB_OUTPUT"]).values()
    assert text.strip() == summary.strip()
    run_job(machine, "retrain", "comment", **{"needs.train.outputs.summary": text})
    called = "\n".join(machine.called)
    assert called.partition("gh ")[2] == f"pr comment 12 --repo team/stack --body {text}"


def test_a_training_that_fails_fails_the_job_and_its_summary_says_why(machine: Machine) -> None:
    machine.write("record", "")
    machine.write("code", "3")
    steps = [step["run"] for step in WORKFLOWS["retrain"]["jobs"]["train"]["steps"]]
    files = {"GITHUB_OUTPUT": str(machine.folder / "output"), "GITHUB_STEP_SUMMARY": str(machine.folder / "summary")}
    environ = files | {"RUNNER_TEMP": str(machine.folder), "ARGUMENTS": ""}
    codes = [machine.run(step, environ).returncode for step in steps]
    assert codes == [3, 0]
    assert (machine.folder / "summary").read_text() == (
        "### Training failed\n\nExit code 3: &#91;1/5&#93; read and check the data\n"
    )


def test_where_there_is_nothing_new_the_summary_says_which_run_it_was(machine: Machine) -> None:
    machine.write("record", json.dumps({"unchanged": True, "reason": "sales.csv is what run r was trained on"}))
    files = run_job(machine, "retrain", "train")
    assert files["GITHUB_STEP_SUMMARY"] == "### Nothing new to train on\n\nsales.csv is what run r was trained on.\n"


def test_options_that_no_shell_would_read_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert RETRAIN["main"]([str(tmp_path), "--data 'no end"]) == 2
    assert "are no options: No closing quotation" in capsys.readouterr().err
    assert RETRAIN["main"]([]) == 2


def test_the_machine_with_the_key_trains_for_no_pull_request_and_is_given_no_token() -> None:
    workflow = WORKFLOWS["retrain"]
    triggers = workflow[True]  # what YAML makes of `on`
    assert set(triggers) == {"schedule", "workflow_dispatch", "repository_dispatch"}
    job = workflow["jobs"]["train"]
    assert "self-hosted" in job["runs-on"]
    # A repository that names no folder has no such machine, and nothing waits for one.
    assert job["if"] == job["defaults"]["run"]["working-directory"] == "${{ vars.STACK_FOLDER }}"
    for name in ("retrain", "comment"):
        (rule,) = ON_GITLAB[name]["rules"]
        assert "&& $STACK_FOLDER" in rule["if"]
    assert workflow["permissions"] == {}
    assert "permissions" not in job
    assert "token" not in str(job)
    own = [name for each in WORKFLOWS.values() for name, job in each["jobs"].items() if "self-hosted" in job["runs-on"]]
    assert own == ["train"]


def test_every_action_is_pinned_by_a_commit_with_its_version_beside_it() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for line in re.findall(r"uses: (.*)", path.read_text()):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), f"{path.name}: {line}"


# --- GitLab --------------------------------------------------------------------------------------------------------


def run_on_gitlab(machine: Machine, job: str, **variables: str) -> None:
    definition = ON_GITLAB[job]
    environ = {"CI_PROJECT_DIR": str(machine.checkout), "CI_COMMIT_TAG": "v0.3.0", "CI_REGISTRY": "r.example"}
    environ |= {"CI_PROJECT_URL": "https://gitlab.example/team/stack", "CI_SERVER_URL": "https://gitlab.example"}
    environ |= {"CI_REGISTRY_IMAGE": OWNER, "CI_REGISTRY_USER": "ci", "CI_REGISTRY_PASSWORD": "secret"}
    environ |= definition.get("variables", {}) | variables
    for part in ("script", "after_script"):
        if lines := definition.get(part):
            result = machine.run("\n".join(lines), environ)
            assert result.returncode == 0, f"{lines}\n{result.stdout}\n{result.stderr}"


def test_on_gitlab_a_release_is_made_the_same_way(machine: Machine) -> None:
    for architecture in ("amd64", "arm64"):
        machine.write("architecture", OF[architecture])
        run_on_gitlab(machine, "images", ARCHITECTURE=architecture)
    run_on_gitlab(machine, "join")
    check_joined(machine)
    run_on_gitlab(machine, "release")
    (made,) = (line for line in machine.called if line.startswith("glab "))
    assert made.startswith(
        "glab release create v0.3.0 --notes-file build/notes.md release.env release.images compose.release.yaml build/sbom/"
    )
    notes = (machine.checkout / "build/notes.md").read_text()
    assert notes.startswith(NOTES.format("https://gitlab.example/team/stack/-/blob"))
    assert notes_name(machine, notes) == ["git clone --branch v0.3.0 https://gitlab.example/team/stack && cd stack"]
    identity = "https://gitlab.example/team/stack//.gitlab-ci.yml@refs/tags/v0.3.0"
    assert machine.called[-1] == VERIFY.format("https://gitlab.example", identity)
    assert not any("secret" in line for line in machine.called)


def test_on_gitlab_the_site_of_a_release_is_shown_beside_those_of_earlier_ones(machine: Machine) -> None:
    origin = with_origin(machine)
    remote = ["git", "-C", str(machine.checkout), "remote", "set-url", "origin", "https://gitlab.example/no-login"]
    subprocess.run(remote, check=True)
    run_on_gitlab(machine, "pages", CI_REPOSITORY_URL=origin)
    assert shown_in(origin) == "site\n"
    assert (machine.checkout / "public/0.3.0/index.html").read_text() == "site\n"
    assert ON_GITLAB["pages"]["artifacts"]["paths"] == ["public"]


def test_on_gitlab_a_training_is_told_in_its_log_and_on_the_merge_request(machine: Machine) -> None:
    run_on_gitlab(
        machine, "retrain", STACK_FOLDER=str(machine.checkout), TRAIN_ARGS="--data 'my sales.csv' --target churned"
    )
    assert machine.called == [COMMAND]
    run_on_gitlab(machine, "comment", MERGE_REQUEST="12")
    assert "glab mr note 12 --message ### Version 7 of sales is promoted" in machine.called[1]
    assert ON_GITLAB["retrain"]["tags"] == ["mlflow-stack"]
    assert not any("merge_request" in rule["if"] for rule in ON_GITLAB["retrain"]["rules"])
