"""A fast path through an estimator's own parts gives, bit for bit, what the estimator gives, or there is none."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from contract.mlmodel.manifest import Description
from contract.schema import LARGEST, Column, Kind
from inference.errors import InvalidInput
from inference.model.engines import sklearn_fast_path
from inference.model.engines.sklearn import Pipeline
from inference.rows import Rows, from_cells, of_checked
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

NUMBERS = tuple(Column(name) for name in "abc")
MIXED = (Column("a", missing=True), Column("b"), Column("c", Kind.TEXT, missing=True), Column("d", Kind.TEXT))


def described(columns: tuple[Column, ...]) -> Description:
    return Description(columns, True, "", None, [], {})


def matrix(rows: int = 60) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 3))


def mixed(rows: int = 60) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": draws.normal(size=rows),
            "b": draws.normal(size=rows),
            "c": pd.Series(draws.choice(["x", "y", "z"], rows), dtype="str"),
            "d": pd.Series(draws.choice(["u", "v"], rows), dtype="str"),
        }
    )
    frame.loc[::7, "a"] = np.nan
    frame.loc[::9, "c"] = np.nan
    return frame


def rows_of(frame: pd.DataFrame) -> Rows:
    cells = [[None if value != value else value for value in row] for row in frame.astype(object).values.tolist()]
    return from_cells(cells, MIXED, lambda i, j: f"{i}, {j}")


def prepared(handle_unknown: str = "ignore") -> Any:
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["a", "b"]),
        (
            make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown=handle_unknown)),
            ["c", "d"],
        ),
    )


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(20, random_state=0),
        ExtraTreesClassifier(20, random_state=0),
        RandomForestRegressor(20, random_state=0),
        ExtraTreesRegressor(20, random_state=0),
        make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda estimator: str(estimator)[:60],
)
def test_a_fast_path_on_numbers_gives_what_the_estimator_gives(estimator: Any) -> None:
    numbers = matrix()
    target = np.where(numbers[:, 0] > 0, "yes", "no")
    if "Regressor" in str(estimator):
        target = numbers @ [1.0, 2.0, 3.0]
    pipeline = Pipeline(estimator.fit(numbers, target), described(NUMBERS), takes_arrays=True)
    found = pipeline.with_fast_path(Rows(numbers, None))
    assert found.fast_path is not None
    other = np.random.default_rng(1).normal(size=(500, 3)) * 3
    for piece in (other, other[:1]):
        assert np.array_equal(found.labels(Rows(piece, None)), estimator.predict(piece))
        if hasattr(estimator, "predict_proba"):
            assert np.array_equal(found.probabilities(Rows(piece, None)), estimator.predict_proba(piece))


@pytest.mark.parametrize("last", [LogisticRegression(), RandomForestClassifier(10, random_state=0)])
def test_a_fast_path_through_text_and_gaps_gives_what_the_estimator_gives(
    last: LogisticRegression | RandomForestClassifier,
) -> None:
    frame = mixed()
    estimator = make_pipeline(prepared(), last).fit(frame, frame["b"] > 0)
    found = Pipeline(estimator, described(MIXED), takes_arrays=False).with_fast_path(rows_of(frame))
    assert found.fast_path is not None
    other = mixed(200).iloc[60:]
    assert np.array_equal(found.labels(rows_of(other)), estimator.predict(other))
    assert np.array_equal(found.probabilities(rows_of(other)), estimator.predict_proba(other))


def test_what_the_estimator_refuses_is_refused_with_its_words_all_the_same() -> None:
    frame = mixed()
    estimator = make_pipeline(prepared("error"), LogisticRegression()).fit(frame, frame["b"] > 0)
    found = Pipeline(estimator, described(MIXED), takes_arrays=False).with_fast_path(rows_of(frame))
    assert found.fast_path is not None
    strange = frame.head(1).assign(d=pd.Series(["never seen"], dtype="str"))
    with pytest.raises(InvalidInput, match="unknown categories"):
        found.labels(rows_of(strange))


def test_a_forest_looks_at_missing_numbers_itself() -> None:
    numbers = matrix()
    estimator = RandomForestClassifier(5, random_state=0).fit(numbers, numbers[:, 0] > 0)
    found = Pipeline(estimator, described(NUMBERS), takes_arrays=True).with_fast_path(Rows(numbers, None))
    gap = Rows(np.array([[np.nan, 0.0, 0.0]]), None)
    assert np.array_equal(found.labels(gap), estimator.predict(gap.matrix))


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        GradientBoostingClassifier(n_estimators=3),
        make_pipeline("passthrough", LogisticRegression()),
        make_pipeline(make_column_transformer(("passthrough", ["a", "b", "c"])), LogisticRegression()),
    ],
    ids=["alone", "another ensemble", "a step that is none", "columns that pass through"],
)
def test_an_estimator_of_other_parts_answers_for_itself(
    estimator: GradientBoostingClassifier | LogisticRegression | Pipeline,
) -> None:
    frame = pd.DataFrame(matrix(), columns=list("abc"))
    estimator.fit(frame, frame["a"] > 0)
    pipeline = Pipeline(estimator, described(NUMBERS), takes_arrays=False)
    found = pipeline.with_fast_path(Rows(frame.to_numpy(), None))
    assert np.array_equal(found.labels(Rows(frame.to_numpy(), None)), estimator.predict(frame))


def test_a_fast_path_that_answers_otherwise_is_not_taken() -> None:
    """A step that looks at the names of columns, which a fast path does not give it."""

    def by_name(table: Any) -> Any:
        return table.to_numpy() * (2 if isinstance(table, pd.DataFrame) else 1)

    frame = pd.DataFrame(matrix(), columns=list("abc"))
    estimator = make_pipeline(FunctionTransformer(by_name), LogisticRegression()).fit(frame, frame["a"] > 0)
    rows = Rows(frame.to_numpy(), None)
    possible = sklearn_fast_path.of(estimator, described(NUMBERS))
    assert possible is not None
    assert sklearn_fast_path.proven(possible, estimator, rows, frame) is None


def test_a_fast_path_that_answers_otherwise_beyond_the_golden_samples_is_not_taken() -> None:
    def by_name_where_large(table: Any) -> Any:
        values = np.asarray(table)
        return np.where((np.abs(values) > 4) & isinstance(table, pd.DataFrame), -values, values)

    frame = pd.DataFrame(matrix(), columns=list("abc"))
    estimator = make_pipeline(FunctionTransformer(by_name_where_large), LogisticRegression()).fit(frame, frame["a"] > 0)
    rows = Rows(frame.to_numpy(), None)
    possible = sklearn_fast_path.of(estimator, described(NUMBERS))
    assert sklearn_fast_path.proven(possible, estimator, rows, frame) is possible
    assert Pipeline(estimator, described(NUMBERS), takes_arrays=False).with_fast_path(rows).fast_path is None


def test_a_fast_path_that_fails_where_the_estimator_refuses_is_not_taken() -> None:
    class Picky(OneHotEncoder):
        """Refuses what it does not know in one way on its own, and in another among a transformer's parts."""

        def transform(self, table: Any) -> Any:
            if not isinstance(table, pd.DataFrame) and "" in np.asarray(table):
                raise LookupError("no such row")
            return super().transform(table)

    frame = mixed().dropna()
    parts = make_column_transformer((StandardScaler(), ["a", "b"]), (Picky(handle_unknown="error"), ["c", "d"]))
    estimator = make_pipeline(parts, LogisticRegression()).fit(frame, frame["b"] > 0)
    rows = rows_of(frame.head(5))
    assert sklearn_fast_path.proven(sklearn_fast_path.of(estimator, described(MIXED)), estimator, rows, frame.head(5))
    assert Pipeline(estimator, described(MIXED), takes_arrays=False).with_fast_path(rows).fast_path is None


EVERY_KIND = (
    Column("a", missing=True),
    Column("n", Kind.INTEGER, limit=2**63 - 1, datatype="INT64"),
    Column("yes", Kind.BOOLEAN, datatype="BOOL"),
    Column("t", Kind.TEXT, missing=True, datatype="BYTES"),
)
GOLDEN = of_checked([[0.5, 3, True, "x"], [None, 9, False, "y"], [1.5, 4, True, None]], EVERY_KIND)


def tried() -> list[Rows]:
    return list(sklearn_fast_path.rows_like(GOLDEN, EVERY_KIND))


def test_the_rows_that_a_fast_path_is_tried_on_have_extremes_gaps_and_what_nobody_has_seen() -> None:
    number, whole, truth, text = (
        np.concatenate(each) for each in zip(*(rows.by_column for rows in tried()), strict=True)
    )
    assert {0.0, LARGEST, -LARGEST, 0.5, 1.5} <= set(number)
    assert np.isnan(number).any()
    assert {0, 3, 9, 2**63 - 1} <= set(whole.tolist())
    assert set(truth) == {0.0, 1.0}
    assert {"x", "y", None, "", "nan", "a category that nobody has seen"} <= set(text)


def test_the_rows_that_a_fast_path_is_tried_on_are_in_the_domain_and_the_same_each_time() -> None:
    for rows, again in zip(tried(), tried(), strict=True):
        cells = [
            [
                bool(value) if column.kind is Kind.BOOLEAN else value
                for value, column in zip(row, EVERY_KIND, strict=True)
            ]
            for row in zip(*(values.tolist() for values in rows.by_column), strict=True)
        ]
        cells = [[None if value != value else value for value in row] for row in cells]
        from_cells(cells, EVERY_KIND, lambda i, j: f"{i}, {j}")
        assert all(np.array_equal(one, two) for one, two in zip(rows.by_column[1:], again.by_column[1:], strict=True))


def test_a_table_of_very_many_columns_is_tried_on_few_rows() -> None:
    columns = tuple(Column(str(i)) for i in range(5000))
    assert max(len(rows) for rows in sklearn_fast_path.rows_like(Rows(np.zeros((3, 5000)), None), columns)) == 4
