"""Review a version that somebody proposes: check it, sign it, compare it with Production, and write down what came of it.

It is `adopt` and the second half of `train`: their code, with a model that is there already in the place of one that is fitted.
The signature stays here until the version has won: whatever is signed can be served by whoever may write files.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import audit
import mlflow
import numpy as np
from contract.display import differing, visible
from contract.schema import Column
from contract.tracking.rest import SIGNED_BY, is_server
from mlflow.entities.model_registry import ModelVersion

from trainer.adoption import adopt, answers
from trainer.adoption.adopt import Signed
from trainer.artifact import fitted_rows, signing, version_checks, version_files
from trainer.commands import train
from trainer.commands.train import Job
from trainer.console.figures import metric_words, number
from trainer.console.terminal import Console
from trainer.errors import DataError, SettingsError, TrackingError, TrainerError, VersionError
from trainer.experiment import Plan
from trainer.fit.evaluation import evaluate
from trainer.fit.model_selection import Fitted
from trainer.promotion.champion_challenger import Challenge
from trainer.promotion.policy import LEAST_ROWS, Decision
from trainer.settings import Settings
from trainer.signals import Held, Interrupted
from trainer.tracking import alias_moves, candidates, registry
from trainer.tracking.candidates import Review
from trainer.tracking.rest import CANDIDATE, PRODUCTION

BY = "reviewer"
PROMOTED, NOT_PROMOTED, REFUSED, WITHDRAWN, NOTHING = (
    "promoted",
    "not promoted",
    "refused",
    "withdrawn",
    "nothing to do",
)
# What ends the process that holds a review (a machine that goes off, memory that is used up) may do so again and again.
MOST_BEGUN = 5


class Withdrawn(TrainerError):
    """Whoever asked for a review has taken the alias away, or given it to another version."""


@dataclass(frozen=True)
class Case:
    """A version under review."""

    settings: Settings
    version: ModelVersion
    is_candidate: bool
    """whether it has the alias, which then has to stay until the decision"""
    asked_by: str
    plan: Callable[[], Plan]
    """what is said of the model's data and its policy; raises SettingsError where nothing is, or nothing that can be used"""
    console: Console

    @property
    def name(self) -> str:
        """The registered model's."""
        return str(self.version.name)

    @property
    def asked(self) -> str:
        """Who asked for the review, in words that follow a reason; anybody who may write tags may write that one."""
        return f" (asked by {self.asked_by!r}, by the tag)" if self.is_candidate else f" (asked for by {self.asked_by})"

    @property
    def number(self) -> str:
        """The version's."""
        return str(self.version.version)


@dataclass(frozen=True)
class Came:
    """What a review has come to, before it is written down."""

    outcome: str
    reason: str
    stage: str | None = None
    """the stage word that is shown on the version, None where that stays as it is"""


def review(settings: Settings, version: str | None, plan: Callable[[], Plan], console: Console) -> Review | None:
    """Review a version of the registered model, by default its candidate; return what came of it, None where there is none.

    Raises TrackingError where MLflow does not answer: then nothing is decided, and a candidate stays one.
    """
    signing.check_key(settings.signing_key)
    mlflow.set_tracking_uri(settings.tracking_uri)
    name, proposed = settings.model_name, candidates.candidate(settings.model_name)
    if (version := version or proposed) is None:
        console.print(f"No version of {name} has the alias {CANDIDATE}.", soft_wrap=True)
        return None
    found = registry.model_version(name, version)
    is_candidate = str(found.version) == proposed
    asked_by = candidates.asked_by(found) if is_candidate else settings.who
    audit.begin(
        settings.audit_file, BY if is_candidate else settings.who
    )  # what a tag says is nobody's word but its writer's
    case = Case(settings, found, is_candidate, asked_by, plan, console)
    with Held() as signals:  # the move, its record and the answer belong together
        came = _held(case, signals)
        made = Review(
            case.number,
            candidates.now(),
            asked_by,
            came.outcome,
            visible(" ".join(came.reason.split()), candidates.MOST_REASON),
        )
        candidates.end(name, made, came.stage)
        if came.outcome == PROMOTED:
            registry.show_stages(name)
            alias_moves.show(name)
    console.print(f"Version {made.version} of {name}: {made.outcome}: {made.reason}.", soft_wrap=True)
    return made


def _held(case: Case, signals: Held) -> Came:
    """Hold a review; what goes wrong with a version is what it has come to."""
    try:
        if registry.production(case.name) == case.number:
            return Came(NOTHING, f"it is in {PRODUCTION} already", PRODUCTION)
        if (begun := candidates.begin(case.version)) > MOST_BEGUN:
            return Came(
                REFUSED, f"its review was begun {begun - 1} times, and never came to its end; is its memory used up?"
            )
        with ExitStack() as opened:
            return _compared(case, signals, opened)
    except (TrackingError, Interrupted):
        candidates.forget(case.version)
        raise
    except Withdrawn as error:
        return Came(WITHDRAWN, str(error))
    except (SettingsError, DataError) as error:  # of what the server has to judge it on
        return Came(NOT_PROMOTED, str(error))
    except TrainerError as error:
        return Came(REFUSED, str(error))
    except Exception as error:  # of this version: the next one has to be reviewed all the same
        return Came(REFUSED, f"its review failed: {type(error).__name__}: {error!s:.500}")


def _compared(case: Case, signals: Held, opened: ExitStack) -> Came:
    """Compare with Production on a copy of the version's files; only what has won it gets its signature into MLflow."""
    with signals.let_through(at_once=is_server(case.settings.tracking_uri)) as end_if_told:
        folder, signed = _signed(case, opened)
        end_if_told()
        job, fitted, columns = _measured(case, folder)
        end_if_told()
        challenge = train.challenge_of(job, fitted, case.number)
        challenge.by, challenge.asked, challenge.interface = BY, case.asked, columns
        challenge.gate = replace(challenge.gate, only_measured=True)
        made = challenge.decide()
        judged = candidates.count(case.name, job.table.sha256)
        if signed is not None and made.promote:
            signed.check_unchanged()
            challenge.before_move = partial(signed.publish, BY, case.console)
    return _carried_out(case, job, challenge, made, judged)


def _signed(case: Case, opened: ExitStack) -> tuple[Path, Signed | None]:
    """Return a folder with a version's files, signed by this stack's key, and what is signed in it only so far, if anything.

    Raises VersionError for what may not be signed. The folder is there as long as what is `opened`.
    """
    try:
        folder = opened.enter_context(version_files.signed(case.version, case.name, case.settings.signing_key))
    except VersionError:
        signed = opened.enter_context(adopt.signed_here(case.settings, case.version, case.console))
        _check_never_signed(case)
        return signed.folder, signed
    if adopt.runs_code(folder):
        raise VersionError(
            "it runs code when it is loaded, for which its owner has vouched, so it cannot be measured here; "
            f"`promote {case.number}{case.settings.model_option}` puts it into {PRODUCTION} by hand"
        )
    return folder, None


def _check_never_signed(case: Case) -> None:
    """Raise VersionError where tags tell that this key has signed the model before: its signature was taken away since."""
    key_id = signing.key_id(case.settings.signing_key)
    if any(version.tags.get(SIGNED_BY) == key_id for version in registry.versions_of(str(case.version.source))):
        raise VersionError(adopt.SIGNED_BEFORE)


def _measured(case: Case, folder: Path) -> tuple[Job, Fitted, Sequence[Column]]:
    """Return the comparison's data and rules, the version with its figures on the rows that are held out, and its columns."""
    plan = replace(case.plan(), model_name=case.name, promote=True, force=False, reason=None)
    job = train.prepare_job(case.settings, plan, case.console, logs_run=False)
    columns = version_checks.interface_of(folder)
    _check_names([column.name for column in columns], job)
    estimator, unseen = _asked(case, job, folder)
    job = _on_unseen_rows(job, unseen)
    table, judged_by = job.table, job.choice.metric
    figures = evaluate(estimator, job.rows, table.task, table.class_names, judged_by)
    figures.metrics[train.baseline_of(job)] = judged_by.of(job.baseline.estimator, *job.rows.test)
    return job, Fitted(BY, estimator, figures, 0.0), columns


def _check_names(found: list[str], job: Job) -> None:
    """Raise VersionError where a version's columns are not those of the data, in their order."""
    if found != (wanted := [column.name for column in job.table.columns]):
        raise VersionError(f"of the columns of {job.table.path} it {differing(found, wanted, ('column', 'columns'))}")


def _asked(case: Case, job: Job, folder: Path) -> tuple[Any, np.ndarray | None]:
    """Return what answers for a version, and which of the held-out rows it was not fitted on; None where that is not known.

    Whatever a training with this key has not made is asked in a sandbox, and says for itself what it was fitted on.
    """
    settings, rows = case.settings, (job.rows.test_features, job.rows.test_target)
    if fitted_rows.is_own(folder):
        return version_checks.load(folder, settings.trusted_types), fitted_rows.unseen(folder, *rows)
    answers.claimed(case.version, folder)
    hidden = [settings.signing_key, settings.data_dir]
    estimator, hashes = answers.asked(folder, job.table.features, settings.trusted_types, hidden)
    return estimator, None if hashes is None else fitted_rows.outside(hashes, *rows)


def _on_unseen_rows(job: Job, unseen: np.ndarray | None) -> Job:
    """Return a comparison with those of the held-out rows that the version was not fitted on; too few are a leak, by the policy."""
    if unseen is None:
        leak = "which rows it was fitted on is not known, so those that it is judged on may be among them"
        return replace(job, leaks=[*job.leaks, leak])
    if (count := int(unseen.sum())) < LEAST_ROWS:
        return replace(job, leaks=[*job.leaks, f"of the rows that it is judged on only {count} are new to it"])
    rows = job.rows
    aside = rows.test_aside.of(np.flatnonzero(unseen))
    rows = replace(
        rows, test_features=rows.test_features[unseen], test_target=rows.test_target[unseen], test_aside=aside
    )
    return replace(job, rows=rows)


def _carried_out(case: Case, job: Job, challenge: Challenge, made: Decision, judged: int) -> Came:
    """Move the alias where a version has won; `judged` is how many versions reviews have judged on these data, this one included."""
    # The last look before the alias is moved: MLflow has no way to do both at once.
    if case.is_candidate and (now := candidates.candidate(case.name)) != case.number:
        where = "taken away" if now is None else f"given to version {now}"
        raise Withdrawn(f"the alias {CANDIDATE} was {where} before the decision")
    made = challenge.carry_out(made)
    stage = PRODUCTION if made.promote else "Staging" if made.meets_threshold else "None"
    figure, rows = f"test_{job.choice.metric.name}", f"{len(job.rows.test_target)} rows of {job.table.path.name}"
    measured = f"{metric_words(figure)} {number(challenge.metrics[figure])}, measured on {rows}, by review {judged} on these data"
    return Came(PROMOTED if made.promote else NOT_PROMOTED, f"{made.reason} ({measured})", stage)
