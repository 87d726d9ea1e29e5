"""What notebooks of plain MLflow import: nothing of ours."""

from importlib import import_module

from mlflow.utils.requirements_utils import _check_requirement_satisfied

for name in (
    "git",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracking.client",
    "pandas",
    "skops.io",
    "sklearn.compose",
    "sklearn.datasets",
    "sklearn.ensemble",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.neighbors",
    "sqlalchemy.dialects.sqlite",
):
    import_module(name)
_check_requirement_satisfied("pandas")  # looks through all packages, the first time
