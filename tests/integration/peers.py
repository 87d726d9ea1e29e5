"""MLflow's side of the parity test: models as people log them, and MLflow's own scoring server. Nothing of ours is used.

python peers.py log NAME               fit the models, register each as a version of NAME, and print what they are
python peers.py serve PORT MODEL …     answer POST /0/invocations for the first model, /1/invocations, …
"""

import json
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ParamSchema, ParamSpec
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

ROWS = 90
EXAMPLES = 3
WIDE = 500

Fitted = tuple[BaseEstimator, pd.DataFrame | np.ndarray]
Maker = Callable[[np.random.Generator], Fitted]


def numbers(draws: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame({name: draws.normal(size=ROWS).round(3) for name in ("length", "width", "big, bigger")})


def mixed(draws: np.random.Generator, holes: bool = False) -> pd.DataFrame:
    """Return numbers, booleans and text; with `holes`, the number and the text are missing in some rows."""
    frame = pd.DataFrame(
        {
            "age": draws.integers(18, 80, ROWS).astype(float),
            "member": draws.random(ROWS) < 0.5,
            "city": draws.choice(["Bern", 'New "York"', "Ürümqi, west"], ROWS),
        }
    )
    if holes:
        frame.loc[::5, "age"] = np.nan
        frame["city"] = frame["city"].astype(object).where(np.arange(ROWS) % 7 != 1, None)
    return frame


def encoded(numeric: Any, text: Any) -> Any:
    return make_column_transformer((numeric, ["age"]), ("passthrough", ["member"]), (text, ["city"]))


def multiclass(draws: np.random.Generator) -> Fitted:
    iris = load_iris(as_frame=True)
    return LogisticRegression(max_iter=1000).fit(iris.data, iris.target), iris.data


def binary_with_boolean_labels(draws: np.random.Generator) -> Fitted:
    cancer = load_breast_cancer(as_frame=True)
    features = cancer.data.iloc[:, :5]
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(features, cancer.target == 1), features


def text_labels(draws: np.random.Generator) -> Fitted:
    rows = numbers(draws)
    return SVC().fit(rows, np.where(rows["length"] > 0, "long", "short")), rows


def regression(draws: np.random.Generator) -> Fitted:
    rows = numbers(draws)
    return LinearRegression().fit(rows, rows["length"] * 2 + rows["width"]), rows


def two_targets(draws: np.random.Generator) -> Fitted:
    rows = numbers(draws)
    return Ridge().fit(rows, np.c_[rows["length"], rows["width"] - rows["length"]]), rows


def clusters(draws: np.random.Generator) -> Fitted:
    rows = numbers(draws)
    return KMeans(3, n_init=1, random_state=0).fit(rows), rows


def single_precision(draws: np.random.Generator) -> Fitted:
    rows = numbers(draws).astype("float32")
    return LinearRegression().fit(rows, rows["length"] - rows["width"]), rows


def whole_numbers(draws: np.random.Generator) -> Fitted:
    rows = pd.DataFrame(
        {
            "rooms": draws.integers(1, 9, ROWS),
            "floor": draws.integers(-2, 30, ROWS).astype("int32"),
            "area": draws.normal(80, 20, ROWS).round(1),
        }
    )
    return LinearRegression().fit(rows, rows["area"] * 9 + rows["rooms"]), rows


def boolean_columns(draws: np.random.Generator) -> Fitted:
    rows = pd.DataFrame({name: draws.random(ROWS) < 0.4 for name in ("fever", "cough")})
    return LogisticRegression().fit(rows, rows["fever"].astype(int)), rows


def text_column(draws: np.random.Generator) -> Fitted:
    rows = mixed(draws)
    pipeline = make_pipeline(encoded(StandardScaler(), OneHotEncoder(handle_unknown="ignore")), LogisticRegression())
    return pipeline.fit(rows, (rows["city"] == "Bern").astype(int)), rows


def known_categories_only(draws: np.random.Generator) -> Fitted:
    rows = mixed(draws)
    rows["city"] = rows["city"].astype("category")
    pipeline = make_pipeline(encoded(StandardScaler(), OneHotEncoder()), LinearRegression())
    return pipeline.fit(rows, rows["age"] + (rows["city"] == "Bern")), rows


def missing_values(draws: np.random.Generator) -> Fitted:
    rows = mixed(draws, holes=True)
    text = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    pipeline = make_pipeline(encoded(SimpleImputer(add_indicator=True), text), Ridge())
    return pipeline.fit(rows, rows["age"].fillna(99) + 10 * (rows["city"] == "Bern") + rows["city"].isna()), rows


def one_column(draws: np.random.Generator) -> Fitted:
    rows = numbers(draws)[["length"]]
    return LinearRegression().fit(rows, rows["length"] * 3 - 1), rows


def five_hundred_columns(draws: np.random.Generator) -> Fitted:
    rows = pd.DataFrame(draws.normal(size=(ROWS, WIDE)).round(3), columns=[f"x{i}" for i in range(WIDE)])
    return Ridge().fit(rows, rows["x7"]), rows


def numpy_array(draws: np.random.Generator) -> Fitted:
    rows = numbers(draws).to_numpy()
    return LogisticRegression().fit(rows, (rows[:, 0] > 0).astype(int)), rows


def forest(draws: np.random.Generator) -> Fitted:
    iris = load_iris(as_frame=True)
    return RandomForestClassifier(5, random_state=0).fit(iris.data, iris.target_names[iris.target]), iris.data


def histogram_boosting(draws: np.random.Generator) -> Fitted:
    rows = numbers(draws)
    rows.loc[::4, "width"] = np.nan
    return HistGradientBoostingRegressor(max_iter=20).fit(rows, rows["length"]), rows


def with_parameters(draws: np.random.Generator) -> Fitted:
    return regression(draws)


MODELS: dict[str, Maker] = {
    maker.__name__.replace("_", " "): maker
    for maker in (
        multiclass,
        binary_with_boolean_labels,
        text_labels,
        regression,
        two_targets,
        clusters,
        single_precision,
        whole_numbers,
        boolean_columns,
        text_column,
        known_categories_only,
        missing_values,
        one_column,
        five_hundred_columns,
        numpy_array,
        with_parameters,
        forest,
        histogram_boosting,
    )
}
PARAMETERS = ParamSchema([ParamSpec("threshold", "double", 0.5), ParamSpec("mode", "string", "plain")])
# Trees are of types that skops does not take for harmless.
PICKLED = ("forest", "histogram boosting")
HARMLESS_TYPES = ["numpy.dtype"]


def log(name: str) -> list[dict[str, Any]]:
    """Log every model as a version of `name`; return what each of them is and some rows for it."""
    return [_log(title, maker, name) for title, maker in MODELS.items()]


def _log(title: str, maker: Maker, name: str) -> dict[str, Any]:
    estimator, rows = maker(np.random.default_rng(0))
    signature = _signature(title, estimator, rows)
    info = mlflow.sklearn.log_model(
        estimator,
        name="model",
        registered_model_name=name,
        serialization_format="cloudpickle" if title in PICKLED else "skops",
        skops_trusted_types=HARMLESS_TYPES,
        signature=signature,
        input_example=rows[:EXAMPLES] if signature is None else None,
        pip_requirements=[f"scikit-learn=={version('scikit-learn')}"],
    )
    inputs = info.signature.inputs.to_dict()
    return {
        "title": title,
        "name": name,
        "version": str(info.registered_model_version),
        "trust": "pickle" if title in PICKLED else "skops",
        "columns": [[c["name"], c["type"], c.get("required", True)] for c in inputs] if "name" in inputs[0] else None,
        "rows": _as_json(rows),
    }


def _signature(title: str, estimator: Any, rows: pd.DataFrame | np.ndarray) -> ModelSignature | None:
    """Return the signature that people infer; None for an array, from which MLflow makes one of a tensor itself."""
    if isinstance(rows, np.ndarray):
        return None
    found = infer_signature(rows, estimator.predict(rows))
    params = PARAMETERS if title == "with parameters" else None
    return ModelSignature(inputs=found.inputs, outputs=found.outputs, params=params)


def _as_json(rows: pd.DataFrame | np.ndarray) -> list[list[Any]]:
    """Return rows from the first to the last as JSON values; whole ones, so that each case says itself what is missing."""
    whole = pd.DataFrame(rows).dropna()
    spread = whole.iloc[np.linspace(0, len(whole) - 1, EXAMPLES).astype(int)]
    return json.loads(spread.to_json(orient="values", double_precision=15))


def serve(port: int, models: list[str]) -> None:
    """Serve each model, a folder or a URI, with the application that `mlflow models serve` runs."""
    import uvicorn
    from fastapi import FastAPI
    from mlflow.pyfunc.scoring_server import init, load_model

    everything = FastAPI()
    for number, model in enumerate(models):
        everything.mount(f"/{number}", init(load_model(model)))
    uvicorn.run(everything, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "log":
        print(json.dumps(log(sys.argv[2])))
    else:
        serve(int(sys.argv[2]), sys.argv[3:])
