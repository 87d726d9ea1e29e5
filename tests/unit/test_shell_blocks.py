"""Every shell command that the pages show: which test runs it, or why none does; and that its own parser takes it.

What stands in a fenced block, in the workshop's pages and in docs/monitoring.md, is run in order by tests of their own (tests/guided_tour.py).
"""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import accounts.__main__
import cleanup.__main__
import click
import pytest
import trainer.__main__
from doctor.host.command import parser as doctor
from inference.api_keys import command as api_key
from trainer.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += [page for page in sorted((ROOT / "docs").rglob("*.md")) if "workshop" not in page.parts]
# What a line of a block begins with that is a command; without a prompt all lines of a block are, with one those that have it.
PROGRAM = re.compile(
    r"(?:[A-Z_]+=(?:\"[^\"]*\"|\S*) )*(docker|scripts/|make|python |curl|git |printf|pip |uvx |export|mkdir|cat |chmod|grep|cosign|py-spy"
    r"|mlflow |mlflow-stack|model_signing|\.venv/|\.ci/)"
)
TRAINER = r"(docker compose run --rm trainer|scripts/trainer|make|mlflow-stack)"

CI = ".github/workflows/ci.yml"

# A command → the tests that run it, by their module under tests/, or CI. The first line that fits counts.
RUN = {
    r"scripts/start": "stack/test_first_start",
    r"docker compose up( -d --wait)?( inference)?$": "stack/test_first_start",
    r"([A-Z_]+=\S* )*docker compose down": "stack/test_life",
    r"docker compose stop mlflow": "stack/test_life",
    r"docker compose up -d --wait( --scale inference=5)?": "stack/test_scale",
    r"docker compose --profile reviewer up": "stack/test_identity",
    r"TRAIN_SCHEDULE=\".*\" make schedule": "integration/test_schedule",
    r"docker compose exec minio cat /run/secrets/root-password": "stack/test_https",
    r"docker compose exec -T edge cat": "stack/test_https",
    r"docker compose exec -T inference cat /run/secrets/signing-key.pub": "stack/test_hardening",
    r"docker compose run --rm accounts": "stack/test_identity",
    r"docker compose run --rm audit$": "stack/test_identity",
    r"docker compose run --rm backup": "stack/test_in_case_of_loss",
    r"docker compose run --rm database back": "stack/test_in_case_of_loss",
    r"docker compose run --rm cleanup": "stack/test_trainer",
    r"([A-Z_]+=\S* )*docker compose run --rm( -T -e API_KEY)? monitor labels": "stack/test_kept_predictions",
    r"curl http://localhost:1235/labels": "stack/test_kept_predictions",
    r"make loop": "integration/test_loop",
    r"docker compose run --rm monitor (query|report)": "stack/test_kept_predictions",
    r"docker compose run --rm (-T )?trainer challenge": "stack/test_kept_predictions",
    r"docker compose run --rm -T monitor query": "stack/test_kept_predictions",
    r"docker compose run --rm --no-deps --entrypoint=promtool": "stack/test_keeping_watch",
    r"([A-Z_]+=\S* )*scripts/restore": "stack/test_in_case_of_loss",
    r"scripts/upgrade-postgres": "stack/test_in_case_of_loss",
    r"scripts/roll": "stack/test_scale",
    r"scripts/doctor": "stack/test_health",
    r"docker compose run --rm --no-deps --entrypoint=rm secrets": "stack/test_health",
    r"scripts/api-key": "stack/test_settings",
    r"scripts/base-images": "integration/test_supply_chain",
    r"python examples/predict_test.py": "stack/test_first_start",
    r"(printf .*\| |curl )http://localhost:1235/": "integration/test_protocols",
    r"(curl|printf) .*http://localhost:1235/": "integration/test_protocols",
    r"curl -X POST http://localhost:5000/.*registered-models/alias": "integration/test_demo",
    r"curl -u anna .*update-password": "integration/test_login",
    r"(mkdir -p -m 0700|cat >|chmod 0600) ~/.mlflow": "integration/test_login",
    rf"{TRAINER} adopt": "integration/test_demo",
    rf"{TRAINER} (promote|rollback|history|models)": "integration/test_alias_history",
    rf"{TRAINER} review": "integration/test_review",
    rf"{TRAINER} requirements": "integration/test_any_model",
    rf"{TRAINER} explore": "stack/test_trainer",
    rf"{TRAINER} (compare|train) .*--(dataset|search|estimator|data \S+ --target \S+$)": "integration/test_any_table",
    rf"{TRAINER} train --config experiments/": "stack/test_trainer",
    rf"{TRAINER} train .*--(metric|class-weight|decision-threshold)": "integration/test_decision",
    r"mlflow-stack train": "integration/test_review",
    rf"{TRAINER}( train)?$": "stack/test_trainer",
    r"make (demo|serve|ui|train|explore|compare|cleanup)": "integration/test_demo",
    rf"{TRAINER} workshop": "integration/test_guided_tour",
    r"BACKUP_PASSWORD_FILE=password make restore": "integration/test_embedded_backup",
    r"INFERENCE_WORKERS=1 INFERENCE_LISTEN_PORT=1236 make serve": "integration/test_demo",
    r"model_signing verify key": "unit/test_contract_signature",
    r"make site": "unit/test_website",
    r"make release-check|scripts/(release-compose|compare-images)": "integration/test_release",
    r"make (test|lint types|audit( sbom)?|sbom)$": CI,
}
# A command → why no test runs it.
NOT_RUN = {
    r"make (fuzz|lock|environment)|\.ci/run|scripts/lock": "an hour, new packages, and what all of it needs",
    r"(INFERENCE_WORKERS=1 |PYTHONPATH=services |py-spy |\.venv/bin/python -m |curl http://localhost:1236)": "for a person who looks on",
    r"(git |cat release.env|cosign|docker pull|docker tag|pip install|uvx|export |grep )": "of a release, or of other programs",
    r"(docker compose build|docker compose --profile backup up|docker compose up -d --wait (&&|--no-build))": "takes minutes, or a clock",
    rf"{TRAINER} train .*--(group|time|weight)": "in parts, by unit/test_holdout and integration/test_weights",
    r"docker compose (--profile grafana up|exec grafana)": "of Grafana's image, of which there is no stand-in",
    r"docker compose exec inference (ls|rm)": "of a cache that many names have been in",
    r"scripts/inference-any": "takes the packages of a model",
    r"(AUDIT_WHO=\$USER )?docker compose run --rm -T audit": "runs in unit/test_audit without a container",
    r"MLFLOW_TRACKING_URI=\S+ mlflow artifacts download": "MLflow's own",
    r"curl -fLO https://github.com/OWNER|scripts/release-images": "of a release that is there, or is made",
}


@dataclass(frozen=True)
class Command:
    page: Path
    block: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text[:60]}"


def _blocks(page: Path) -> Iterator[list[str]]:
    """Yield the lines of each indented block of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for block in re.findall(r"(?:\A|\n\n)((?:    .*\n(?:\n(?=    ))?)+)", text):
        yield [line[4:] for line in block.splitlines()]


def _commands() -> Iterator[Command]:
    for page in PAGES:
        for number, lines in enumerate(_blocks(page)):
            prompted = [line[2:] for line in lines if line.startswith("$ ")]
            for line in prompted or [line for line in lines if PROGRAM.match(line)]:
                if PROGRAM.match(line) and "  gunicorn workers" not in line:
                    yield Command(page, number, re.sub(r"\s+#\s.*", "", line).strip())


COMMANDS = list(_commands())


def _rule(rules: dict[str, str], command: Command) -> str | None:
    return next((rule for rule in rules if re.match(rule, command.text)), None)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_of_the_pages_is_run_by_a_test_or_it_is_said_why_not(command: Command) -> None:
    assert _rule(RUN, command) or _rule(NOT_RUN, command)


def test_most_blocks_of_commands_are_run_and_no_rule_is_left_over() -> None:
    blocks = {(command.page, command.block) for command in COMMANDS}
    not_run = {(command.page, command.block) for command in COMMANDS if not _rule(RUN, command)}
    assert len(blocks) > 70
    assert len(not_run) / len(blocks) < 0.35
    used = {_rule(RUN, command) or _rule(NOT_RUN, command) for command in COMMANDS}
    assert {*RUN, *NOT_RUN} - used == set()


def test_the_tests_that_are_said_to_run_them_are_there() -> None:
    assert [name for name in RUN.values() if name != CI and not (ROOT / "tests" / f"{name}.py").is_file()] == []


# --- parsers -------------------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    """Return the words of a command up to the next one or to where its output goes."""
    return shlex.split(re.split(r" (?:\|\||&&|[|;>])", text)[0])


def _arguments(command: Command) -> tuple[str, list[str]] | None:
    """Return the program and its arguments where it is one of ours."""
    made = re.match(r"make (\w+)(?: (?:VERSION=(\S+)|ARGS=\"?([^\"]*)\"?))*$", command.text)
    if made and made[1] in trainer.__main__.trainer.commands:
        return "trainer", [made[1], *filter(None, [made[2]]), *shlex.split(made[3] or "")]
    found = re.search(
        r"(?:docker compose run --rm (trainer|accounts|cleanup)|scripts/(trainer|doctor|api-key)|((?<!/)mlflow-stack))(?= |$)(.*)",
        command.text,
    )
    if not found:
        return None
    name = next(filter(None, found.groups()[:3]))
    return name.replace("mlflow-stack", "trainer"), _words(found[4])


def _click(group: click.Command) -> Callable[[Sequence[str]], object]:
    def parse(arguments: Sequence[str]) -> object:
        with group.make_context("program", list(arguments), obj=Settings()) as context:
            if not isinstance(group, click.Group) or not arguments:
                return context
            name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
            assert command is not None
            return command.make_context(name, rest, parent=context, obj=Settings())

    return parse


PARSERS: dict[str, Callable[[Sequence[str]], object]] = {
    "trainer": _click(trainer.__main__.trainer),
    "accounts": _click(accounts.__main__.accounts),
    "cleanup": _click(cleanup.__main__.cleanup),
    "doctor": lambda arguments: doctor("scripts/doctor").parse_args(arguments),
    "api-key": lambda arguments: api_key.parser().parse_args(arguments),
}
OURS = [command for command in COMMANDS if _arguments(command)]


@pytest.mark.parametrize("command", OURS, ids=str)
def test_every_command_of_ours_has_options_that_it_takes(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = _arguments(command)
    assert found
    PARSERS[found[0]](found[1])  # which raises, or exits, where it does not
