"""What people read and what runs say the same: documentation, compose files, .env.example, settings and locks."""

import ast
import functools
import re
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from runpy import run_path
from typing import Any

import inference.settings
import monitoring.__main__
import pytest
import trainer.__main__
import trainer.settings
import yaml
from setup.secret_files import DERIVED, OWNERS, SECRETS

from tests.unit.compose_files import services_of

ROOT = Path(__file__).parents[2]
COMPOSE_FILES = [ROOT / "compose.yaml", *sorted(ROOT.glob("compose.*.yaml"))]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "data/README.md")]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS += PAGES
LOCKS = [ROOT / "requirements.txt", *sorted(ROOT.glob("services/*/requirements.txt"))]
SERVICES = services_of("compose.yaml")
SETTINGS = {"trainer": trainer.settings.Settings, "inference": inference.settings.Settings}

# What a container or the way without Docker decides, and no setting of the stack: see inference/settings.py.
INTERNAL = {"trainer": {"TRAINING_LOCK"}, "inference": {"INFERENCE_LISTEN_PORT"}}
# What each container with a port looks at before its settings (services/contract/publishing/guard.py).
OF_THE_GUARD = {"BIND_ADDRESS", "ALLOW_OPEN"}
# What the pages name beside settings and error codes: of Compose, of the tests, of Python, MLflow and the stores, …
NAMED_BESIDE = {"COMPOSE_FILE", "REQUIRE_STACK", "PYTHONPATH", "MLFLOW_TRACKING_URI", "MLFLOW_ARTIFACTS_DESTINATION"}
NAMED_BESIDE |= {"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "AWS_SHARED_CREDENTIALS_FILE", "PGPASSFILE"}
NAMED_BESIDE |= {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "TAKE_PICTURES", "MLFLOW_STACK_REGISTRY"}
# … of those who trust an authority, …
NAMED_BESIDE |= {"MLFLOW_TRACKING_SERVER_CERT_PATH", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}
# … of the workflows, …
NAMED_BESIDE |= {"STACK_FOLDER", "MERGE_REQUEST", "GITLAB_TOKEN"}
# … of BuildKit, …
NAMED_BESIDE |= {"BUILDX_BUILDER", "SOURCE_DATE_EPOCH"}
# … a name of many, a data type, a name in the code, and another project's prefix.
NAMED_BESIDE |= {"AUDIT_REQUIRED", "REGISTRY", "NAME_FILE", "FP16", "TRUSTED_TYPES", "BOOSTED_TYPES", "MLSERVER_"}
# Options of docker compose that have a value, where the pages use them.
OPTIONS_WITH_A_VALUE = {"--progress", "--profile", "--scale"}
# The file that stands in for a secret that is not given as a file.
NOT_GIVEN = "./services/setup/not-given"


# --- reading what is held against each other -----------------------------------------------------------------------


def _interpolations(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, operator and the word after it of each ${NAME…} outside of comments; "$$" is a plain dollar sign."""
    text = "".join(line for line in path.read_text().splitlines(True) if not line.lstrip().startswith("#"))
    text = text.replace("$$", "")
    assert not re.search(r"\$\w", text), f"{path.name} interpolates without braces, which this test does not see"
    yield from re.findall(r"\$\{(\w+)(:?[-+?])?([^}]*)\}", text)


@functools.cache
def _compose_defaults() -> dict[str, set[str]]:
    """Return each variable that a person may set and its defaults in the compose files, one unless they disagree."""
    defaults: dict[str, set[str]] = {}
    for path in COMPOSE_FILES:
        for name, operator, word in _interpolations(path):
            if name in ("COMPOSE_PROJECT_NAME", "COMPOSE_FILE") or operator in ("+", ":+"):
                continue  # Compose sets it; whether a secret is given as a value, which is told and never taken
            default = "" if operator in ("?", ":?") or word == NOT_GIVEN else word
            defaults.setdefault(name, set()).add(default)
    return defaults


@functools.cache
def _env_example() -> dict[str, str]:
    """Return the settings of .env.example; two are Compose's own."""
    lines = re.findall(r"^# ([A-Z][A-Z0-9_]*)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
    assert len(lines) == len(dict(lines)), "a setting stands twice in .env.example"
    return {name: value for name, value in lines if name not in ("COMPOSE_FILE", "COMPOSE_PROFILES")}


def _code(path: Path) -> Iterator[str]:
    """Yield the lines of code blocks and the spans of a Markdown file, each on one line."""
    text = path.read_text()
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
        yield from block.splitlines()
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    yield from (line.strip() for line in re.findall(r"^    .*", text, re.M))
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", re.sub(r"^    .*", "", text, flags=re.M)))


def _commands(path: Path, program: str) -> Iterator[list[str]]:
    """Yield the words after a program's name wherever a file's code calls it, up to a comment or the next command."""
    for line in _code(path):
        for found in re.finditer(rf"(?<![\w/.-]){program}(?= )([^#|;&>]*)", line):
            # A value in quotes belongs to the word that it stands in.
            yield re.sub(r'="[^"]*"', "=…", found.group(1)).split()


def _compose_commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield verb and words of each `docker compose …`, without options."""
    for words in _commands(path, "docker compose"):
        plain = [
            word
            for before, word in pairwise(["", *words])
            if not word.startswith("-") and before not in OPTIONS_WITH_A_VALUE
        ]
        if plain:
            yield plain[0], plain[1:]


def _services_named(path: Path) -> Iterator[str]:
    for verb, words in _compose_commands(path):
        named = words[:1] if verb in ("run", "exec") else words
        yield from (word for word in named if not word.isupper())  # SERVICE, for any of them


def _trainer_commands_named(path: Path) -> Iterator[str]:
    for verb, words in _compose_commands(path):
        if verb == "run" and words[:1] == ["trainer"]:
            yield from words[1:2]
    for words in _commands(path, "scripts/trainer"):
        yield from (word.rstrip(".,") for word in words[:1] if not word.startswith("-"))


def _settings_named(path: Path) -> set[str]:
    text = path.read_text()
    spans = re.findall(r"`([A-Z][A-Z0-9_]{3,})(?:=[^`]*)?`", text)
    return {*spans, *re.findall(r"^    ([A-Z][A-Z0-9_]{3,})=", text, re.M)}


def _names_read(service: str) -> set[str]:
    """Return the environment variables that a service's settings read."""
    return set(re.findall(r'"([A-Z][A-Z0-9_]+)"', (ROOT / "services" / service / "settings.py").read_text()))


@functools.cache
def _error_codes() -> set[str]:
    """Return what else stands in capitals in the prediction service."""
    code = (path.read_text() for path in (ROOT / "services/inference").rglob("*.py"))
    return set(re.findall(r'"([A-Z_]{4,})"', "".join(code)))


@functools.cache
def _commands_of_the_trainer() -> set[str]:
    trees = [ast.parse(path.read_text()) for path in (ROOT / "services/trainer/cli").glob("*.py")]
    return {
        node.name
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(decorator).startswith("trainer.command(") for decorator in node.decorator_list)
    }


def _environment(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}


def _headings(path: Path) -> set[str]:
    """Return the anchors of a Markdown file, as the usual renderers make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _pins(lock: Path) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(), re.M))


def _ids(lock: Path) -> str:
    return str(lock.relative_to(ROOT))


# --- settings ------------------------------------------------------------------------------------------------------


def test_every_variable_of_the_compose_files_has_one_default() -> None:
    assert {name: found for name, found in _compose_defaults().items() if len(found) > 1} == {}


def test_env_example_lists_exactly_the_settings_of_the_compose_files_with_their_defaults() -> None:
    assert _env_example() == {name: next(iter(found)) for name, found in _compose_defaults().items()}


def test_every_setting_in_env_example_has_a_line_that_says_why() -> None:
    setting = re.compile(r"# [A-Z][A-Z0-9_]*=")
    for before, line in pairwise((ROOT / ".env.example").read_text().splitlines()):
        if setting.match(line):
            assert re.match(r"# [A-Za-z]", before), line
            assert not setting.match(before), line


def test_a_secret_can_be_given_as_a_file_and_its_value_is_only_looked_for() -> None:
    found = _interpolations(ROOT / "compose.yaml")
    presence = {name for name, operator, word in found if (operator, word) == (":+", "set")}
    assert presence == {secret.setting for secret in SECRETS} | {"BACKEND_STORE_URI"}
    found = _interpolations(ROOT / "compose.login.yaml")
    presence |= {name for name, operator, word in found if (operator, word) == (":+", "set")}
    assert presence - {secret.setting for secret in SECRETS} - {"BACKEND_STORE_URI"} == {"MLFLOW_ADMIN_PASSWORD"}
    found = _interpolations(ROOT / "compose.sso.yaml")
    presence |= {name for name, operator, word in found if (operator, word) == (":+", "set")}
    assert "OIDC_CLIENT_SECRET" in presence
    assert {f"{name}_FILE" for name in presence} <= set(_env_example())
    assert not presence & set(_env_example())


@pytest.mark.parametrize("service", SETTINGS)
def test_the_docstrings_of_the_settings_name_what_is_read(service: str) -> None:
    source = (ROOT / "services" / service / "settings.py").read_text()
    assert set(re.findall(r'^    """([A-Z][A-Z0-9_]+):', source, re.M)) == _names_read(service)


@pytest.mark.parametrize("service", SETTINGS)
def test_a_container_is_given_exactly_what_its_settings_read(service: str) -> None:
    assert _names_read(service) - INTERNAL[service] == set(_environment(service)) - OF_THE_GUARD


@pytest.mark.parametrize("service", SETTINGS)
def test_the_defaults_of_the_code_are_those_of_the_compose_file(service: str) -> None:
    read = SETTINGS[service].from_env  # type: ignore[attr-defined]
    for name, value in _environment(service).items():
        if found := re.fullmatch(rf"\$\{{{name}:?-(.*)\}}", value):
            assert read({name: found.group(1)}) == read({}), name


@pytest.mark.parametrize("service", SETTINGS)
def test_an_empty_setting_reaches_the_service_that_refuses_it(service: str) -> None:
    hidden = [name for name, value in _environment(service).items() if value.startswith(f"${{{name}:-")]
    assert hidden == []


def test_bootstrap_trains_with_the_settings_of_the_trainer() -> None:
    assert _environment("bootstrap") == _environment("trainer")


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids)
def test_every_setting_that_is_documented_is_one(document: Any) -> None:
    read = {name for service in (*SETTINGS, "trainer/schedule") for name in _names_read(service)}
    assert _settings_named(document) - set(_env_example()) - read - _error_codes() - NAMED_BESIDE == set()


def test_the_pages_on_promotion_and_trust_name_the_settings_of_it() -> None:
    assert {"MIN_TEST_ACCURACY", "MIN_TEST_R2"} <= _settings_named(ROOT / "docs/promotion.md")
    assert "MODEL_TRUST" in _settings_named(ROOT / "docs/your-own-model.md")


def test_the_page_of_settings_is_what_its_script_makes_of_them() -> None:
    made = run_path(str(ROOT / "scripts/configuration.py"))["page"]()
    assert (ROOT / "docs/configuration.md").read_text() == made, "run `make configuration`"


@pytest.mark.parametrize("name", ["commands", "api"])
def test_the_pages_that_are_made_from_the_code_are_what_their_scripts_make_of_it(name: str) -> None:
    made = run_path(str(ROOT / f"scripts/{name}.py"))["page"]()
    assert (ROOT / f"docs/{name}.md").read_text() == made, "run `make reference`"


def test_the_page_of_commands_has_every_command_of_the_trainer_and_every_option_of_train() -> None:
    text = (ROOT / "docs/commands.md").read_text()
    assert all(f"\n### trainer {name}\n" in text for name in trainer.__main__.trainer.commands)
    section = text.split("\n### trainer train\n")[1].split("\n### ")[0]
    options = {
        name
        for option in trainer.__main__.trainer.commands["train"].params
        for name in (*option.opts, *option.secondary_opts)
    }
    assert all(re.search(rf"^\| `[^`]*{name}(?![\w-])", section, re.M) for name in options)
    assert "5  a version is not there" in text


def test_the_page_of_commands_has_what_is_no_command_of_the_trainer_s_too() -> None:
    text = (ROOT / "docs/commands.md").read_text()
    for path in ("monitor report", "monitor watch", "monitor query", "monitor labels", "api-key add", "api-key off"):
        assert f"\n### {path}\n\n    {path}" in text
    for words in (
        "| `--patience SECONDS` |",
        "    backup check ",
        "    scripts/restore SNAPSHOT ",
        "    audit note WHAT OF ",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--help",), 0, "usage: monitor COMMAND"),
        ((), 2, "usage: monitor COMMAND"),
        (("repotr",), 2, "monitor: there is no command 'repotr'"),
    ],
)
def test_the_monitor_says_once_which_commands_it_has(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["monitor", *arguments])
    assert monitoring.__main__.main() == code
    told = "".join(capsys.readouterr())
    assert said in told
    assert told.count("usage:") == 1
    assert [line.split()[0] for line in told.splitlines() if line.startswith("  ")] == [
        "report",
        "watch",
        "query",
        "labels",
    ]


def test_the_page_of_the_api_has_every_request_that_the_service_describes() -> None:
    template = yaml.safe_load((ROOT / "services/inference/web/openapi.yaml").read_text())
    text = (ROOT / "docs/api.md").read_text()
    for path, item in template["paths"].items():
        assert all(f"\n### {method.upper()} {path}\n" in text for method in ("get", "post") if method in item)


def test_the_page_of_settings_has_each_variable_that_a_person_or_a_process_may_be_given() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    parts = re.split(r"^### (?=The trainer|The prediction service)", text, flags=re.M)
    assert len(parts) == 3
    wanted = (set(_env_example()), _names_read("trainer"), _names_read("inference"))
    for part, names in zip(parts, wanted, strict=True):
        assert set(re.findall(r"^\| `(\w+)` \|", part, re.M)) == names


# --- who waits for whom --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=_ids)
def test_what_answers_predictions_depends_on_nothing_that_compose_could_replace_or_wait_for(path: Path) -> None:
    for name, service in services_of(path.name).items():
        assert name not in ("inference", "proxy") or "depends_on" not in service
        assert not {"inference", "proxy"} & set(service.get("depends_on", {}))


def test_whoever_notes_changes_as_long_as_it_runs_starts_after_the_audit_log_and_ends_before() -> None:
    login = services_of("compose.login.yaml")
    said = {name: [SERVICES.get(name, {}), login.get(name, {})] for name in {*SERVICES, *login}}
    long = {name for name, parts in said.items() if not any(part.get("restart") == "no" for part in parts)}
    notes = {name for name in long if any("AUDIT_FILE" in part.get("environment", {}) for part in said[name])}
    after = {name for name, parts in said.items() if any("audit-log" in part.get("depends_on", {}) for part in parts)}
    assert notes - {"audit-log"} == {"mlflow", "reviewer", "schedule", "backup-schedule"}
    assert notes - {"audit-log"} <= after


def test_every_job_is_waited_for_so_that_up_tells_whether_it_has_succeeded() -> None:
    jobs = {name for name, service in SERVICES.items() if service.get("restart") == "no" and "profiles" not in service}
    jobs -= {name for name, service in SERVICES.items() if service.get("scale") == 0}
    waits = [wait for service in SERVICES.values() for wait in service.get("depends_on", {}).items()]
    done = {name for name, wait in waits if wait["condition"] == "service_completed_successfully"}
    healthy = {name for name, wait in waits if wait["condition"] == "service_healthy"}
    assert jobs == {"secrets", "postgres-version", "database", "bucket", "migrate", "bootstrap"}
    assert done == jobs
    assert healthy == {"postgres", "minio", "mlflow"}


# --- commands, links and ports -------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids)
def test_every_make_target_that_is_documented_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {word for words in _commands(document, "make") for word in words if "=" not in word}
    assert named <= targets
    assert named or document.name not in ("README.md", "CONTRIBUTING.md") or document.parent != ROOT


def _commands_of_ci() -> list[str]:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    # What a machine of GitHub's lacks is installed first (test_workflows.py).
    return [command for command in commands if not command.startswith("sudo apt-get ")]


HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())


def _hooks() -> list[dict[str, Any]]:
    return [hook for repository in HOOKS["repos"] for hook in repository["hooks"]]


def _commands_of_hooks() -> list[str]:
    return [hook["entry"] for hook in _hooks() if hook["language"] == "system"]


@pytest.mark.parametrize(
    ("commands", "targets"),
    [
        (_commands_of_ci, {"lint", "types", "workflows", "audit", "sbom", "test"}),
        (_commands_of_hooks, {"lint", "types"}),
    ],
)
def test_ci_and_the_hooks_run_the_targets_that_people_run_and_nothing_else(
    commands: Callable[..., Any], targets: set[str]
) -> None:
    words = [command.split() for command in commands()]
    assert {make for make, *_ in words} == {"make"}
    assert {target for _, *named in words for target in named} == targets


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        (72 * "a", False),
        (73 * "a", True),
        (72 * "é" + "\n\n" + 100 * "a" + "\n", False),
        (73 * "é" + "\n", True),
        ("\n" + 73 * "a", True),
        ("fixup! " + 72 * "a", False),
    ],
)
def test_a_commit_whose_first_line_is_longer_than_the_page_says_is_refused(message: str, refused: bool) -> None:
    (hook,) = (hook for hook in _hooks() if hook.get("stages") == ["commit-msg"])
    assert "in at most 72 characters" in (ROOT / "CONTRIBUTING.md").read_text()
    assert (hook["language"], hook["args"]) == ("pygrep", ["--multiline"])
    # As pre-commit's pygrep reads a file at once: bytes, and what is found is refused.
    found = re.search(hook["entry"].encode(), message.encode(), re.MULTILINE | re.DOTALL)
    assert bool(found) is refused
    # `pre-commit install` installs it, and what runs make is for the time before alone.
    assert (HOOKS["default_install_hook_types"], HOOKS["default_stages"]) == (
        ["pre-commit", "commit-msg"],
        ["pre-commit"],
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids)
def test_every_service_in_a_documented_command_is_in_the_compose_file(document: Path) -> None:
    assert set(_services_named(document)) <= {name for path in COMPOSE_FILES for name in services_of(path.name)}


def test_the_readme_shows_how_to_look_into_services() -> None:
    assert {"trainer", "inference", "postgres", "minio", "mlflow"} <= set(_services_named(ROOT / "README.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids)
def test_every_documented_command_of_the_trainer_exists(document: Path) -> None:
    assert "train" in _commands_of_the_trainer()
    assert set(_trainer_commands_named(document)) <= _commands_of_the_trainer()


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    # Code has brackets and parentheses of its own.
    text = re.sub(r"^```.*?^```|^    .*?$|`[^`]*`", "", document.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = document if not name else document.parent / name
        assert path.exists(), target
        assert not anchor or anchor in _headings(path), target


def test_the_table_of_services_in_the_readme_has_all_services_and_their_ports() -> None:
    table = (ROOT / "README.md").read_text().split("## The services")[1].split("\n\n")[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert sorted(name for row in rows for name in row[0].split(", ")) == sorted(SERVICES)
    for names, _, where, *_ in rows:
        ports = [re.sub(r"\$\{\w+:?-(.*?)\}", r"\1", port) for port in SERVICES[names.split(", ")[0]].get("ports", [])]
        assert re.findall(r"localhost:(\d+)", where) == [port.split(":")[1] for port in ports], names


# --- how the pages lead a reader -----------------------------------------------------------------------------------


def test_the_readme_has_at_most_200_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_index_of_the_documentation_has_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = re.findall(r"\]\(([\w/.-]+\.md)\)", index.read_text())
    assert {index, *((index.parent / target).resolve() for target in linked)} >= set(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_every_page_begins_with_its_title_and_a_sentence_on_what_it_is_for(page: Any) -> None:
    title, first, *_ = page.read_text().split("\n\n")
    assert re.fullmatch(r"# .+", title)
    assert re.match(r"[A-Z]", first), first


# --- packages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS[1:], ids=_ids)
def test_an_image_has_the_versions_of_the_one_resolution(lock: Path) -> None:
    assert _pins(lock)
    assert _pins(lock) <= _pins(ROOT / "requirements.txt")


@pytest.mark.parametrize(
    "lock",
    [*LOCKS, *ROOT.glob("scripts/tools/*.*"), *ROOT.glob("services/*/go.*")],
    ids=_ids,
)
def test_a_lock_has_no_download_addresses(lock: Path) -> None:
    assert [line for line in lock.read_text().splitlines() if "://" in line] == []


def test_no_committed_file_says_where_packages_are_downloaded() -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    address = re.compile(r"(PIP_INDEX_URL|GOPROXY|index[-_]url|find-links)[\"']?(\s*[:=]\s*|\s+)\S*://", re.I)
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            text = (ROOT / name).read_text(errors="replace")
            if "://" in text:
                assert address.search(text) is None, name


# --- who may read what ---------------------------------------------------------------------------------------------


def test_each_image_runs_as_the_user_that_its_secrets_belong_to() -> None:
    images = {"minio": ["minio"], "mlflow": ["mlflow"], "inference": ["inference"], "setup": ["database", "bucket"]}
    for image, volumes in images.items():
        dockerfile = (ROOT / "services" / image / "Dockerfile").read_text()
        (user,) = re.findall(r"^USER (\S+)$", dockerfile, re.M)
        folders = {*re.findall(r"--chown=(\S+)", dockerfile)}
        folders |= {":".join(owner) for owner in re.findall(r"install -d -o (\d+) -g (\d+)", dockerfile)}
        assert {user, *folders} == {f"{OWNERS[volume].uid}:{OWNERS[volume].gid}" for volume in volumes}, image


def test_what_an_overlay_gives_a_way_out_asks_for_names_there() -> None:
    for path in COMPOSE_FILES:
        out = [name for name, service in services_of(path.name).items() if "outside" in service.get("networks", [])]
        # One line each: the tag does not reach through an anchor.
        assert path.read_text().count("dns: !reset []") == len(
            [name for name in out if "dns" in SERVICES.get(name, {})]
        ), path


def test_postgres_runs_as_the_user_that_its_volumes_belong_to() -> None:
    for volume in ("postgres", "postgres-data", "postgres-socket"):
        assert SERVICES["postgres"]["user"] == f"{OWNERS[volume].uid}:{OWNERS[volume].gid}"


def test_a_container_of_postgres_data_is_a_new_one_where_their_volume_has_another_name() -> None:
    """Compose starts the container that it has, with the volume of before, where nothing else of the service has changed."""
    jobs = {name for name, service in SERVICES.items() if service.get("profiles")}  # new ones each time
    mounting = {name for name, service in SERVICES.items() if "postgres-data" in str(service.get("volumes"))}
    saying = {name for name, service in SERVICES.items() if "${POSTGRES_VOLUME:-" in str(service.get("labels"))}
    assert saying == mounting - jobs


def test_the_trainer_is_in_the_group_that_reads_its_key_and_no_other_user_reads_it() -> None:
    (groups,) = re.findall(r"--groups (\d+)", (ROOT / "services/trainer/entrypoint.sh").read_text())
    assert (int(groups), 0o440) == (OWNERS["trainer"].gid, OWNERS["trainer"].mode)
    assert {owner.mode for volume, owner in OWNERS.items() if volume != "trainer"} == {0o400}


def test_the_secrets_job_has_a_volume_for_each_owner_and_each_consumer_mounts_its_own() -> None:
    mounted = dict(
        volume.split(":")[:2] for volume in SERVICES["secrets"]["volumes"] if re.match(r"[\w-]+:/volumes/", volume)
    )
    assert {path.removeprefix("/volumes/") for path in mounted.values()} == set(OWNERS)
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            if isinstance(volume, str) and volume.endswith(":/run/secrets:ro"):
                owner = {
                    "migrate": "mlflow",
                    "cleanup": "mlflow",
                    "bootstrap": "trainer",
                    "reviewer": "trainer",
                    "schedule": "trainer",
                }.get(name, name)
                assert volume.split(":")[0] == f"{owner}-secrets", name


def test_the_table_of_secrets_in_the_architecture_is_what_the_job_writes() -> None:
    table = re.findall(
        r"^\| `([\w-]+)-secrets` \| (.+?) \| (\S+) \| (0\d+) \|$",
        (ROOT / "docs/architecture.md").read_text(),
        re.M,
    )
    files = {file for secret in SECRETS for file in secret.files} | set(DERIVED)
    files |= {"mlflow/backend-store-uri", "database/backend-store-uri", "bucket/aws-credentials"}
    assert {f"{volume}/{file}" for volume, names, _, _ in table for file in re.findall(r"`(.+?)`", names)} == files
    for volume, _, owner, mode in table:
        assert owner == f"{OWNERS[volume].uid}:{OWNERS[volume].gid}", volume
        assert int(mode, 8) == OWNERS[volume].mode, volume


def test_the_service_says_the_version_of_the_project() -> None:
    assert f'version = "{inference.VERSION}"' in (ROOT / "pyproject.toml").read_text()
