"""What the trainer imports, so that no child of this process has to.

With PICTURES=drawn a training has its pictures drawn, by such a child as well; without it they are there at once: drawing would be half of it.
"""

import os
from importlib import import_module
from typing import Self

from contract import signature
from trainer.artifact import onnx_converters
from trainer.cli import training
from trainer.cli.imports import THREADS, importing
from trainer.plots import worker

os.environ |= THREADS
with importing():
    for name in (
        "skops.io",  # before MLflow, as in a training
        "contract.boosting.lightgbm_estimators",
        "contract.boosting.xgboost_estimators",
        "contract.trust.archive",
        "contract.trust.state",
        "cryptography.hazmat.backends.openssl.backend",
        "encodings.cp437",
        "git",
        "matplotlib.backends.backend_agg",
        "mlflow.pyfunc.loaders",
        "mlflow.store.model_registry.sqlalchemy_workspace_store",
        "mlflow.store.tracking.sqlalchemy_workspace_store",
        "mlflow.tracing.processor.base_mlflow",
        "mlflow.tracing.processor.otel",
        "mlflow.tracking.request_header.registry",
        "narwhals._interchange.dataframe",
        "narwhals._pandas_like.namespace",
        "narwhals.stable.v2._namespace",
        "onnxruntime",
        "pandas.core.methods.to_dict",
        "pandas.io.formats.csvs",
        "pandera.accessors.pandas_accessor",
        "pandera.backends.pandas.builtin_checks",
        "pandera.backends.pandas.register",
        "pandera.io.pandas_io",
        "skl2onnx",
        "sqlalchemy.dialects.sqlite",
        "trainer.adoption.adopt",
        "trainer.cli.adoption",
        "trainer.cli.production",
        "trainer.cli.training",
        "trainer.commands.challenge",
        "trainer.commands.compare",
        "trainer.commands.explore",
        "trainer.commands.production",
        "trainer.commands.review",
        "trainer.commands.train",
        "trainer.commands.workshop",
        "trainer.explore.html_report",
        "trainer.plots.evaluation",
        "trainer.plots.exploration",
    ):
        import_module(name)
    from mlflow.utils.requirements_utils import _check_requirement_satisfied

    signature.library()
    _check_requirement_satisfied("pandas")  # looks through all packages, the first time
    onnx_converters.register()  # of XGBoost's and LightGBM's estimators, which are imported above


class Undrawn(worker.Drawing):
    """As many pictures as there are, without a process that draws them, and under names that no test takes for theirs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave nothing: there is no process."""

    def begin(self, *subject: object) -> None:
        """Draw nothing."""

    def pictures(self) -> dict[str, bytes]:
        return {f"undrawn_{number}.png": b"\x89PNG" for number in range(4)}


def of_a_training() -> worker.Drawing:
    return worker.Drawing() if os.environ.get("PICTURES") == "drawn" else Undrawn()


training.Drawing = of_a_training  # type: ignore[assignment, attr-defined, misc, unused-ignore]
