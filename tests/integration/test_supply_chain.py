"""What looks at the supply chain tells a clean answer from none, and misses no lock, no image and no base image."""

import json
import os
import re
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import audit_packages as audit
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLEAN = {"dependencies": [{"name": "mlflow", "version": "3.17.2", "vulns": []}]}
KNOWN = {
    "name": "mlflow",
    "version": "3.17.2",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["4.0"]}],
}
CONFIG = {"config": {"db": "https://vuln.example"}}
OSV = {"osv": {"id": "GO-1", "aliases": ["CVE-2"]}}
CALLED = {
    "finding": {
        "osv": "GO-1",
        "fixed_version": "v1.2.0",
        "trace": [{"module": "m", "version": "v1.0.0", "function": "F"}],
    }
}
REQUIRED = {"finding": {"osv": "GO-1", "trace": [{"module": "m", "version": "v1.0.0"}]}}


def _program(folder: Path, name: str, script: str) -> tuple[str, ...]:
    """Return the command of a program that does what a script says."""
    (folder / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
    (folder / name).chmod(0o755)
    return (str(folder / name),)


def _says(folder: Path, name: str, *messages: Any, code: int = 0, error: str = "") -> tuple[str, ...]:
    """Return the command of a program that prints JSON, one value after the other, and ends with a code."""
    (folder / f"{name}.out").write_text("\n".join(json.dumps(message) for message in messages))
    return _program(folder, name, f"cat '{folder / name}.out'; echo '{error}' >&2; exit {code}")


@pytest.fixture
def clean_python(tmp_path: Path) -> tuple[str, ...]:
    return _says(tmp_path, "pip-audit", CLEAN)


@pytest.fixture
def clean_go(tmp_path: Path) -> tuple[str, ...]:
    return _says(tmp_path, "govulncheck", CONFIG)


# --- the audit -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {"messages": [], "code": 1, "error": "ERROR:pip_audit._cli:Could not connect to the feed"},
        {
            "messages": [],
            "code": 1,
            "error": "ERROR:pip_audit._cli:mlflow: Dependency not found and could not be audited",
        },
        # What it does without --strict, should it ever not mind that.
        {"messages": [{"dependencies": [{"name": "a", "skip_reason": "could not be audited"}]}], "code": 0},
        {"messages": [{"dependencies": []}], "code": 0},
    ],
)
def test_packages_that_were_not_looked_up_are_no_pass_where_an_audit_is_required(
    tmp_path: Path,
    clean_go: tuple[str, ...],
    answer: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = _says(tmp_path, "pip-audit", *answer.pop("messages"), **answer)
    monkeypatch.delenv("AUDIT_REQUIRED", raising=False)
    assert audit.main(program, clean_go) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "Python" in line)
    assert line.startswith("audit: Python packages were NOT looked up: ")
    monkeypatch.setenv("AUDIT_REQUIRED", "1")
    assert audit.main(program, clean_go) == 2


@pytest.mark.parametrize("code", [1, 0])
def test_modules_that_were_not_looked_up_are_no_pass_where_an_audit_is_required(
    tmp_path: Path, clean_python: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = _says(tmp_path, "govulncheck", code=code, error="govulncheck: fetching vulnerabilities: no such host")
    monkeypatch.delenv("AUDIT_REQUIRED", raising=False)
    assert audit.main(clean_python, program) == 0
    monkeypatch.setenv("AUDIT_REQUIRED", "1")
    assert audit.main(clean_python, program) == 2
    assert audit.main(clean_python, (str(tmp_path / "no-go"),)) == 2


def test_a_known_vulnerability_fails_with_the_package_its_locks_and_what_mends_it(
    tmp_path: Path, clean_go: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    version = re.findall(r"^mlflow==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)[0]
    program = _says(tmp_path, "pip-audit", {"dependencies": [KNOWN | {"version": version}]}, code=1)
    assert audit.main(program, clean_go) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "PYSEC-1" in line)
    where = "requirements.txt, services/mlflow/requirements.txt"
    assert line == f"audit: mlflow=={version} ({where}; mended in 4.0): PYSEC-1, CVE-1"


def test_a_vulnerable_function_that_minio_calls_fails_and_one_that_it_does_not_call_passes(
    tmp_path: Path, clean_python: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(clean_python, _says(tmp_path, "govulncheck", CONFIG, OSV, REQUIRED)) == 0
    assert audit.main(clean_python, _says(tmp_path, "govulncheck", CONFIG, OSV, REQUIRED, CALLED)) == 1
    assert "audit: m v1.0.0 (services/minio/go.mod; mended in v1.2.0): GO-1, CVE-2" in capsys.readouterr().out


def test_what_is_known_fails_also_where_something_else_was_not_looked_up(tmp_path: Path) -> None:
    found = _says(tmp_path, "pip-audit", {"dependencies": [KNOWN]}, code=1)
    assert audit.main(found, (str(tmp_path / "no-go"),)) == 1


def test_an_exception_passes_over_a_vulnerability_by_any_of_its_names_until_its_day(
    tmp_path: Path, clean_go: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "EXCEPTIONS", tmp_path / "exceptions.toml")
    program = _says(tmp_path, "pip-audit", {"dependencies": [KNOWN]}, code=1)
    for until, code in (("9999-01-01", 0), (date.today().isoformat(), 1)):
        audit.EXCEPTIONS.write_text(f'[[exception]]\nid = "CVE-1"\nreason = "of its server"\nuntil = {until}\n')
        assert audit.main(program, clean_go) == code


@pytest.mark.parametrize(
    "entry",
    ['id = "CVE-1"\nuntil = 9999-01-01', 'id = "CVE-1"\nreason = "so"', 'id = "CVE-1"\nreason = "so"\nuntil = "soon"'],
)
def test_an_exception_without_a_reason_or_a_day_is_none(tmp_path: Path, entry: str) -> None:
    (tmp_path / "exceptions.toml").write_text(f"[[exception]]\n{entry}\n")
    with pytest.raises(audit.NotAnException, match="id, reason and until"):
        audit.exceptions(tmp_path / "exceptions.toml", date.today())


def test_every_lock_is_audited(tmp_path: Path, clean_go: tuple[str, ...]) -> None:
    files = subprocess.run(["git", "ls-files", "-z", "*.txt"], cwd=ROOT, capture_output=True, text=True, check=True)
    with_hashes = {name for name in filter(None, files.stdout.split("\0")) if "--hash=" in (ROOT / name).read_text()}
    program = _program(tmp_path, "pip-audit", f"printf '%s\\n' \"$@\" >'{tmp_path}/asked'; exit 1")
    audit.main(program, clean_go)
    asked = re.findall(r"^--requirement=(.+)$", (tmp_path / "asked").read_text(), re.M)
    assert {str(Path(path).relative_to(ROOT)) for path in asked} == with_hashes
    assert "--strict" in (tmp_path / "asked").read_text()


def test_ci_requires_the_audit() -> None:
    for workflow in ("ci", "release"):
        jobs = yaml.safe_load((ROOT / f".github/workflows/{workflow}.yml").read_text())["jobs"]
        (step,) = (s for job in jobs.values() for s in job["steps"] if "make audit" in s.get("run", ""))
        assert step["env"] == {"AUDIT_REQUIRED": 1}


# --- releases ------------------------------------------------------------------------------------------------------

DOCKER = r"""
case $* in
    version* | "buildx inspect"*) ;;
    "buildx build"*)
        echo "$SOURCE_DATE_EPOCH $*" >>"$HERE/built"
        while [ "$1" != --metadata-file ]; do shift; done
        echo '{"containerimage.digest": "DIGEST"}' >"$2" ;;
    *compose.monitoring.yaml*"config --format json"*) cat "$HERE/config.monitoring" 2>/dev/null || cat "$HERE/config" ;;
    *"config --format json"*) cat "$HERE/config" ;;
    pull*) echo "$*" >>"$HERE/pulled" ;;
    *Config.Labels*) cat "$HERE/label" 2>/dev/null || true ;;
    *RepoDigests*) cat "$HERE/digests" 2>/dev/null || true ;;
    *"image inspect"*) ;;
    *) exit 99 ;;
esac
"""
DIGEST = "sha256:" + 64 * "a"
DOCKER = DOCKER.replace("DIGEST", DIGEST)
RELEASED = ("mlflow", "setup", "trainer", "inference", "predictions", "minio", "sso", "backup")


def _run(script: Path, here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PATH": f"{here}:/usr/bin:/bin", "HERE": str(here)}
    return subprocess.run([script, *arguments], env=environ, capture_output=True, text=True)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine whose Docker has the base images, pulled."""
    _program(tmp_path, "docker", DOCKER)
    services = {
        "postgres": {"image": "postgres:17-trixie"},
        "mlflow": {"image": "s/mlflow", "build": {"args": {"PYTHON_IMAGE": "python:3.13-slim-trixie@sha256:old"}}},
        "proxy": {"image": "haproxy:3.0-trixie"},
    }
    (tmp_path / "config").write_text(json.dumps({"services": services}))
    names = ("mirror.example/python", "python", "postgres", "haproxy")
    (tmp_path / "digests").write_text("".join(f"{name}@{DIGEST}\n" for name in names))
    return tmp_path


def test_the_digests_of_base_images_are_settings_that_pin_them(machine: Path) -> None:
    result = _run(ROOT / "scripts/base-images", machine, "--digests")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1:] == [
        f"HAPROXY_IMAGE=haproxy:3.0-trixie@{DIGEST}",
        f"POSTGRES_IMAGE=postgres:17-trixie@{DIGEST}",
        f"PYTHON_IMAGE=python:3.13-slim-trixie@{DIGEST}",
    ]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (
            "label",
            "stand-in built from Debian packages",
            "is a stand-in built from Debian packages, of which no registry knows",
        ),
        ("digests", "", "has no digest: it was built or loaded here, not pulled"),
    ],
)
def test_an_image_without_a_digest_is_refused_in_words_and_nothing_is_pinned(
    machine: Path, file: str, content: str, reason: str
) -> None:
    (machine / file).write_text(content)
    result = _run(ROOT / "scripts/base-images", machine, "--digests")
    assert result.returncode == 1
    assert result.stdout == ""
    assert reason in result.stderr


def test_what_a_release_needs_is_pulled_and_of_what_it_does_not_need_it_is_said_that_it_has_no_digest(
    machine: Path,
) -> None:
    config = json.loads((machine / "config").read_text())
    config["services"] |= {name: {"image": f"{name}:1"} for name in ("prometheus", "grafana")}
    (machine / "config.monitoring").write_text(json.dumps(config))
    with (machine / "digests").open("a") as file:
        file.write(f"grafana@{DIGEST}\n")
    # Of these one is brought by the pull, and nobody pulls the other.
    gone = '"image inspect postgres:17-trixie") grep -qs postgres "$HERE/pulled" ;;\n    *"image inspect prometheus:1") exit 1 ;;'
    _program(machine, "docker", DOCKER.replace('*"image inspect"*)', f'{gone}\n    *"image inspect"*)'))
    result = _run(ROOT / "scripts/base-images", machine, "--digests")
    assert result.returncode == 0, result.stderr
    pinned = [line.partition("=")[0] for line in result.stdout.splitlines()[1:]]
    assert pinned == ["GRAFANA_IMAGE", "HAPROXY_IMAGE", "POSTGRES_IMAGE", "PYTHON_IMAGE"]
    assert "not pinned, which a release does not need: prometheus:1 is not here" in result.stderr
    assert (machine / "pulled").read_text() == "pull --quiet postgres:17-trixie\n"


def test_grafana_which_has_no_stand_in_is_left_out_where_it_cannot_be_pulled(machine: Path) -> None:
    (machine / "config").write_text('{"services": {"grafana": {"image": "grafana/grafana:12.4.0"}}}')
    _program(
        machine,
        "docker",
        DOCKER.replace("*Config.Labels*", '"image inspect grafana/"* | pull*) exit 1 ;;\n    *Config.Labels*'),
    )
    result = _run(ROOT / "scripts/base-images", machine)
    assert result.returncode == 0, result.stderr
    assert "without it there are no dashboards, and all else" in result.stdout


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A checkout with all that a release needs, on a machine whose Docker has built and pushed it."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/release-images", tmp_path / "scripts")
    _program(tmp_path, "docker", DOCKER)
    _program(tmp_path, "cosign", 'echo "$*" >>"$HERE/signed"')
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    for command in (
        ("init", "-q"),
        ("add", "scripts"),
        (*identity, "commit", "-qm", "All", "--date", "@1800000000 +0000"),
    ):
        environ = os.environ | {"GIT_COMMITTER_DATE": "@1800000000 +0000"}
        subprocess.run(["git", *command], cwd=tmp_path, env=environ, check=True)
    (tmp_path / "release.env").write_text(f"POSTGRES_IMAGE=postgres:17-trixie@{DIGEST}\n")
    (tmp_path / "build/sbom").mkdir(parents=True)
    for image in RELEASED:
        (tmp_path / f"build/sbom/{image}.cdx.json").write_text("{}")
    return tmp_path


def test_a_release_signs_each_image_and_its_bill_of_materials_by_the_digest_that_was_pushed(release: Path) -> None:
    result = _run(release / "scripts/release-images", release, "r.example/stack", "0.3.0")
    assert result.returncode == 0, result.stderr
    signed = (release / "signed").read_text().splitlines()
    named = [f"r.example/stack/{image}@{DIGEST}" for image in RELEASED]
    assert [line.split()[-1] for line in signed if line.startswith("sign ")] == named
    assert [line.split()[-1] for line in signed if line.startswith("attest ")] == named[:-1]
    assert (release / "release.images").read_text().splitlines() == ["# release 0.3.0", *named]


def test_a_release_is_built_on_the_pinned_base_images_and_no_file_of_it_is_younger_than_its_commit(
    release: Path,
) -> None:
    result = _run(release / "scripts/release-images", release, "r.example/stack", "0.3.0")
    assert result.returncode == 0, result.stderr
    built = (release / "built").read_text().splitlines()
    assert len(built) == len(RELEASED)
    for image, line in zip(RELEASED, built, strict=True):
        assert line.startswith("1800000000 ")
        assert f"--build-arg POSTGRES_IMAGE=postgres:17-trixie@{DIGEST} " in line
        assert f"--file services/{image}/Dockerfile " in line
        assert f"--output type=image,name=r.example/stack/{image}:0.3.0,push=true,rewrite-timestamp=true ." in line
        assert "--label org.opencontainers.image.version=0.3.0 " in line
        assert "--provenance=false" in line


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("cosign", "there is no cosign on this machine, and what is not signed is not pushed"),
        ("release.env", "`scripts/base-images --digests >release.env` makes it"),
        ("build/sbom/minio.cdx.json", "`make sbom` makes it, with Go"),
    ],
)
def test_a_release_that_lacks_something_says_what_and_pushes_nothing(release: Path, missing: str, reason: str) -> None:
    (release / missing).unlink()
    result = _run(release / "scripts/release-images", release, "r.example/stack", "0.3.0")
    assert result.returncode == 1
    assert reason in result.stderr
    assert not (release / "signed").exists()


def test_every_image_that_is_built_is_in_the_bills_of_materials_and_in_a_release() -> None:
    named = ("compose.yaml", "compose.predictions.yaml", "compose.sso.yaml")
    files = [yaml.safe_load((ROOT / name).read_text()) for name in named]
    services = [service for file in files for service in file["services"].values()]
    built = {service["image"].split("/")[-1] for service in services if "build" in service}
    sbom, release = ((ROOT / "scripts" / name).read_text() for name in ("sbom", "release-images"))
    (listed,) = re.findall(r"for image in ([a-z ]+); do of_python", sbom)
    (of_go,) = re.findall(r"for image in ([a-z ]+); do of_go", sbom)
    assert set(listed.split()) == {path.parent.name for path in ROOT.glob("services/*/requirements.txt")}
    assert set(of_go.split()) == {path.parent.name for path in ROOT.glob("services/*/go.mod")}
    (published,) = re.findall(r"for image in ([a-z ]+); do publish", release)
    assert tuple(published.split()) == RELEASED
    assert set(RELEASED) == built
    (signed_for,) = re.findall(r"for image in ([a-z ]+); do\n", release)
    assert set(signed_for.split()) == {*listed.split(), *of_go.split()} == built - {"backup"}
