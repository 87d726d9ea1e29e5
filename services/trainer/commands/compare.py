"""Compare algorithms by cross-validation, without making a version."""

from dataclasses import replace
from typing import Any

from contract.display import without_login

from trainer.commands import leaderboard
from trainer.console import output
from trainer.console.terminal import Console
from trainer.data.table import Task, read, split
from trainer.experiment import Plan
from trainer.fit import algorithms, metric, model_selection
from trainer.fit.model_selection import Choice, choose
from trainer.settings import Settings


def compare(settings: Settings, plan: Plan, console: Console) -> list[dict[str, Any]]:
    """Print the leaderboard of the plan's algorithms, all of the task's where it names none, log it, and return it.

    The baseline is the last row, without a place.
    """
    step = output.steps(console, 3)
    step("read and check the data")
    model_selection.check(plan)
    task = Task(plan.task) if plan.task else None
    table = read(plan.path(settings.data_dir), plan.target, task, plan.drop, plan.keep, plan.form())
    output.notes(console, table.remarks)
    if not (plan.algorithm or plan.estimator or plan.pipeline):
        plan = replace(plan, algorithm=algorithms.all_for(table.task))
    choice, rows = replace(Choice.of(plan, table), ranked=True), split(table)
    output.notes(console, metric.remarks(choice.metric, plan.metric, table))
    step(choice.words(rows).split(";")[0])
    results, lowest = leaderboard.shown(choose(choice, table, rows, console), choice, table, rows, console)
    step(f"log the run to {without_login(settings.tracking_uri)}")
    leaderboard.log(settings, results, lowest, choice, table, console)
    return leaderboard.told(results, lowest, choice)
