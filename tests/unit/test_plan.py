"""What a training is asked for, by options and by a YAML file."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from trainer import experiment
from trainer.__main__ import trainer
from trainer.cli.training import train
from trainer.commands.compare import compare
from trainer.commands.train import prepare_job
from trainer.console.terminal import Console
from trainer.data.table import split
from trainer.errors import SettingsError
from trainer.experiment import Plan
from trainer.fit import model_selection
from trainer.fit.evaluation import evaluate
from trainer.settings import Settings

from tests.unit.drawn import BINARY, MANY, QUANTITY, table

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
OPTIONS = {str(option.name) for option in train.params} - {"config", "param"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": "a.csv", "dataset": "iris"}, "are two data sets; expected one"),
        ({"algorithm": ("random_forest", "logistic_regression")}, "name it with --model-name"),
        ({"algorithm": ("random_forest",), "estimator": "sklearn.svm.SVC"}, "name it with --model-name"),
        ({"text": ("zip",), "date": ("zip=day-first",)}, "--text, --number and --date name 'zip' twice"),
        ({"force": True}, "so it needs --reason"),
        ({"force": True, "reason": "because", "promote": False}, "--force and --no-promote exclude each other"),
        ({"space": {"C": [1, 2]}}, "--search N says in how many trials"),
        (
            {"algorithm": ("random_forest", "logistic_regression"), "model_name": "m", "params": {"C": 1}},
            "--param is for one algorithm",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[Any, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Plan(**options)
    assert said in str(refused.value)


@pytest.mark.parametrize("margin", [math.nan, math.inf, -math.inf, -0.1, True, "0.1", 10**400])
def test_a_margin_that_no_difference_can_be_compared_with_is_refused(margin: Any) -> None:
    with pytest.raises(SettingsError, match=r"--margin is .*; expected a finite number from 0"):
        Plan(margin=margin)


@pytest.mark.parametrize("margin", ["nan", "inf", "-1"])
def test_train_ends_with_such_a_margin_before_anything_is_read(margin: str) -> None:
    result = CliRunner().invoke(trainer, ["train", "--margin", margin])
    told = result.exception.exit_code if isinstance(result.exception, SettingsError) else result.exit_code
    assert told == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.9", None, True, [0.9]])
def test_a_threshold_that_no_metric_can_be_compared_with_is_refused(value: Any) -> None:
    with pytest.raises(
        SettingsError, match=r"thresholds: the threshold of test_f1_macro is .*; expected a finite number"
    ):
        Plan(thresholds={"test_f1_macro": value})


@pytest.mark.parametrize("given", ["churn.csv", "data/churn.csv"])
def test_a_file_is_looked_for_in_the_data_folder(tmp_path: Path, given: str) -> None:
    assert Plan(data=given).path(tmp_path) == tmp_path / "churn.csv"


@pytest.mark.parametrize("given", ["/etc/passwd", "../secret.csv", "data/../../secret.csv"])
def test_a_file_outside_of_the_data_folder_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(SettingsError, match="is not in the data folder"):
        Plan(data=given).path(tmp_path)


@pytest.mark.parametrize(
    ("said", "setting", "expected"),
    [
        (None, Settings.model_name, "wine_random_forest"),
        (None, "flowers", "flowers"),
        ("mine", "flowers", "mine"),
    ],
)
def test_the_model_is_named_by_the_option_else_the_setting_else_after_data_and_algorithm(
    said: str | None, setting: str, expected: str
) -> None:
    settings = Settings(model_name=setting)
    assert Plan(model_name=said).registered_name(settings, "wine", "random_forest") == expected


def test_the_default_model_is_the_workshops() -> None:
    assert Plan().registered_name(Settings(), "iris", "logistic_regression") == "iris_logistic_regression"


def test_parameters_are_read_as_plain_values_and_nothing_is_evaluated() -> None:
    assert experiment.parameters(
        ("C=2", "gamma=0.5", "shrinking=false", "class_weight=null", "kernel=rbf", "x=1+1")
    ) == {
        "C": 2,
        "gamma": 0.5,
        "shrinking": False,
        "class_weight": None,
        "kernel": "rbf",
        "x": "1+1",
    }
    with pytest.raises(SettingsError, match="expected NAME=VALUE"):
        experiment.parameters(("C",))
    with pytest.raises(
        SettingsError, match=r"the value of C is '0,001'; expected a decimal point, 0\.001, or a list, \[0,001\]"
    ):
        experiment.parameters(("C=0,001",))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_the_committed_experiments_are_read(path: Path) -> None:
    assert experiment.read(path, OPTIONS) == yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("datset: wine\n", "has the unknown key 'datset'; did you mean 'dataset'?"),
        ("xyzzy: 1\n", "has the unknown key 'xyzzy'; there are accept_leak, algorithm, "),
        ("- dataset\n", "is list; expected keys"),
        ("dataset: [\n", "is no YAML"),
        ("params: 3\n", "params is 3; expected a mapping"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        experiment.read(path, OPTIONS)
    assert said in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--config .*none\.yaml cannot be read: No such file"):
        experiment.read(tmp_path / "none.yaml", OPTIONS)


def test_every_field_of_a_plan_can_be_said_by_option_or_file() -> None:
    assert set(Plan.__dataclass_fields__) <= OPTIONS | set(experiment.NESTED)


def test_two_plans_are_told_apart_by_all_that_decides_what_comes_of_them_and_by_nothing_else() -> None:
    plan = Plan(algorithm=("random_forest", "xgboost"), model_name="sales", force=True, reason="it is late")
    assert plan.sha256() == replace(plan, model_name="other", reason="it is early", if_new=True).sha256()
    others: list[dict[str, Any]] = [
        {"folds": 4},
        {"drop": ("id",)},
        {"thresholds": {"test_f1": 0.5}},
        {"data": "other.csv"},
    ]
    assert len({plan.sha256(), *(replace(plan, **other).sha256() for other in others)}) == 5


def test_what_is_said_of_a_file_s_form_is_checked_before_anything_is_read() -> None:
    form = Plan(separator="tab", decimal="comma", thousands="point", text=("zip",)).form()
    assert (form.separator, form.decimal, form.thousands, form.text) == ("\t", ",", ".", ("zip",))
    with pytest.raises(SettingsError, match="--decimal 'x': expected point or comma"):
        Plan(decimal="x")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "acuracy"}, "--metric is 'acuracy', which is none; did you mean accuracy?"),
        ({"metric": "rmse", "task": "classification"}, "--metric is 'rmse', which is none for a classification; "),
        ({"thresholds": {"test_acuracy": 0.8}}, "--threshold is for 'acuracy', which is not measured; did you mean accuracy?"),
        ({"decision_threshold": "tunde"}, "--decision-threshold is 'tunde'; expected tuned, or a number between 0 and 1"),
        ({"algorithm": ("random_forrest",)}, "--algorithm is 'random_forrest'; expected one of "),
        ({"algorithm": ("linear_regression",), "task": "classification"}, "--algorithm linear_regression is for regression, and "),
        ({"algorithm": ("logistic_regression",), "params": {"Z": 2}}, "sklearn.linear_model.LogisticRegression has no parameter 'Z'"),
        ({"algorithm": ("linear_regression",), "params": {"alfa": 1}}, "sklearn.linear_model.LinearRegression has no parameter 'alfa'"),
        ({"params": {"Z": 2}}, "for classification: sklearn.linear_model.LogisticRegression has no parameter 'Z'"),
        ({"algorithm": ("random_forest",), "params": {"nestimators": 3}}, "for classification: sklearn.ensemble.RandomForestClassifier has no parameter"),
        ({"estimator": "sklearn.svm.SVM"}, "there is no sklearn.svm.SVM; expected an import path such as sklearn.svm.SVC"),
        ({"pipeline": ["sklearn.svm"]}, "sklearn.svm is no estimator"),
    ],
)  # fmt: skip
def test_what_no_table_can_make_right_is_refused_before_one_is_read(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    settings, plan = Settings(data_dir=tmp_path), Plan(data="absent.csv", **options)
    for command in (prepare_job, compare):
        with pytest.raises(SettingsError) as refused:
            command(settings, plan, Console(quiet=True))
        assert str(refused.value).startswith(said)


FITTING = ["test_r2", "train_f1_macro", "test_recall_of_no", "test_mae_ci_high", "overfitting_gap"]


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        ({}, {"algorithm": ("",)}),
        ({"params": {"C": 2}}, {"params": {"c": 2}}),
        ({"params": {"fit_intercept": False}, "task": "regression"}, {"params": {"C": 2}, "task": "regression"}),
        ({"metric": "rmse"}, {"metric": "rmse", "task": "classification"}),
        ({"metric": "neg_log_loss"}, {"metric": "neg_log_loss", "task": "regression"}),
        ({"algorithm": ("linear_regression",)}, {"algorithm": ("linear_regression",), "task": "classification"}),
        ({"class_weight": "balanced"}, {"class_weight": "balanced", "task": "regression"}),
        ({"decision_threshold": "0.3"}, {"decision_threshold": "1.0"}),
        ({"estimator": "sklearn.svm.SVC", "params": {"C": 2}}, {"estimator": "sklearn.svm.SVC", "params": {"Z": 2}}),
        *(({"thresholds": {name: 0.5}}, {"thresholds": {f"{name}_": 0.5}}) for name in FITTING if "_of_" not in name),
        ({"thresholds": {"test_recall_of_no": 0.5}}, {"thresholds": {"test_rmse_of_no": 0.5}}),
    ],
)  # fmt: skip
def test_what_some_table_may_fit_waits_for_it_and_what_is_nearest_to_it_does_not(
    options: dict[str, Any], nearest: dict[str, Any]
) -> None:
    model_selection.check(Plan(**options))
    with pytest.raises(SettingsError):
        model_selection.check(Plan(**nearest))


def test_each_figure_that_is_measured_may_be_a_threshold(tmp_path: Path) -> None:
    for target in (BINARY, MANY, QUANTITY):
        drawn = table(tmp_path, target)
        choice, rows = model_selection.Choice.of(Plan(), drawn), split(drawn)
        estimator = choice.algorithms[0].estimator.fit(*rows.train[:2])
        measured = evaluate(estimator, rows, drawn.task, None, choice.metric).metrics
        measured[f"baseline_{choice.metric.name}"] = 0.5
        model_selection.check(Plan(thresholds=measured))
        for name in measured:
            with pytest.raises(SettingsError, match="which is not measured"):
                model_selection.check(Plan(thresholds={**measured, f"x{name}": 0.5}))
