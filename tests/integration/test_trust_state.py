"""What may be in a model of types that are all trusted: nothing that reads further than its rows, and no state that lies.

Each model here ended the process, hung it, or opened a file, when it was loaded and asked by what was there before.
"""

import json
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from contract.errors import Refused
from contract.trust import archive, conditions, grammar, parameters, state
from contract.trust.skops_file import load_skops
from contract.trust.trusted_types import HARMLESS_TYPES, TRUSTED_TYPES, VOUCH
from sklearn._loss.loss import HalfBinomialLoss
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, RadiusNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import Bunch

from tests.unit import hostile_models as hostile

X, Y, FAR = hostile.X, hostile.Y, hostile.FAR
SPARSE = "scipy.sparse._csr.csr_matrix"
MORE = TRUSTED_TYPES | {SPARSE, "sklearn.neighbors._ball_tree.BallTree"}
# What histogram boosting calls to look at its rows, which nobody trusts unless the settings name it.
CHECKING = MORE | {"functools.partial", "sklearn.utils.validation.check_array"}
PLAIN = hostile.dumped(LogisticRegression().fit(X, Y))
TREE = hostile.dumped(DecisionTreeRegressor(random_state=0).fit(X, Y))


def refusal(content: bytes, trusted: frozenset[str] = MORE) -> str:
    with pytest.raises(Refused) as refused:
        load_skops(content, trusted)
    return str(refused.value)


def attributes(**values: Any) -> Any:
    return lambda estimator: vars(estimator).update(values)  # type: ignore[attr-defined]


# --- what still is served ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(3),
        ExtraTreesRegressor(3, n_jobs=-1),
        GradientBoostingClassifier(n_estimators=3),
        GradientBoostingClassifier(n_estimators=3, init="zero"),
        OneVsRestClassifier(GradientBoostingClassifier(n_estimators=3, loss="exponential")),
        *[
            GradientBoostingRegressor(n_estimators=3, loss=loss)
            for loss in ("squared_error", "absolute_error", "huber")
        ],
        GradientBoostingRegressor(n_estimators=3, loss="quantile"),
        GradientBoostingRegressor(n_estimators=3, init="zero"),
        HistGradientBoostingClassifier(max_iter=3),
        HistGradientBoostingRegressor(max_iter=3),
        AdaBoostClassifier(n_estimators=3),
        IsolationForest(n_estimators=3),
        CalibratedClassifierCV(SVC(), cv=2),
        SVC(kernel="poly"),
        NuSVC(nu=0.1),
        SVR(),
        OneClassSVM(),
        KMeans(3, n_init=1),
        MiniBatchKMeans(3, n_init=1),
        KNeighborsClassifier(algorithm="kd_tree"),
        KNeighborsClassifier(algorithm="ball_tree"),
        KNeighborsClassifier(algorithm="brute", metric="manhattan"),
        KNeighborsRegressor(),
        KNeighborsRegressor(algorithm="brute", metric="mahalanobis", metric_params={"VI": np.eye(4)}),
        RadiusNeighborsClassifier(radius=5),
        RadiusNeighborsClassifier(radius=5, algorithm="brute"),
        RadiusNeighborsClassifier(radius=5, algorithm="brute", p=1, weights="distance"),
        EllipticEnvelope(support_fraction=1.0),
        MLPClassifier(max_iter=2),
        SGDClassifier(random_state=np.random.RandomState(0)),
        make_pipeline(OneHotEncoder(min_frequency=2, handle_unknown="ignore", drop="first"), LinearRegression()),
        make_pipeline(OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist"), LinearRegression()),
        make_pipeline(OneHotEncoder(drop=[0.0, 1.0, 2.0, 3.0], handle_unknown="ignore"), LinearRegression()),
        make_pipeline(OneHotEncoder(drop="if_binary", sparse_output=False), LinearRegression()),
        make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression()),
        make_pipeline(PolynomialFeatures(3), LinearRegression()),
        make_pipeline(PolynomialFeatures((2, 4), interaction_only=True, include_bias=False), LinearRegression()),
        make_pipeline(TargetEncoder(target_type="multiclass", cv=2), LinearRegression()),
        make_pipeline(TargetEncoder(target_type="continuous", cv=2), LinearRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_model_that_scikit_learn_fitted_answers_as_before(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = np.floor(np.abs(X) * 4)
        fitted = estimator.fit(rows, Y)
        loaded = load_skops(hostile.dumped(fitted), MORE)
        assert np.array_equal(loaded.predict(rows), fitted.predict(rows))


def of_categories() -> Any:
    table = pd.DataFrame({"word": pd.Categorical(["one", "two", "three", "one"] * 15), "number": X[:, 0]})
    return HistGradientBoostingClassifier(max_iter=2, categorical_features="from_dtype").fit(table, Y)


def test_boosting_of_categories_holds_together() -> None:
    state.check(of_categories(), CHECKING)


def test_boosting_of_categories_that_takes_fewer_columns_of_a_table_is_refused() -> None:
    fitted = of_categories()
    fitted._preprocessor._transformer_to_input_indices["numerical"] = []
    with pytest.raises(Refused, match="its preprocessor takes others"):
        state.check(fitted, CHECKING)


@pytest.mark.parametrize("vectorizer", [CountVectorizer(), TfidfVectorizer(), HashingVectorizer(n_features=64)])
def test_a_model_of_text_answers_as_before(vectorizer: CountVectorizer | HashingVectorizer | TfidfVectorizer) -> None:
    content = hostile.text_model(vectorizer)
    assert load_skops(content, HARMLESS_TYPES).predict(hostile.TEXTS).shape == Y.shape


def test_a_model_of_one_column_in_order_answers_as_before() -> None:
    fitted = IsotonicRegression(out_of_bounds="clip").fit(X[:, 0], Y)
    assert np.array_equal(load_skops(hostile.dumped(fitted), MORE).predict(X[:, 0]), fitted.predict(X[:, 0]))


def test_sparse_coefficients_and_vectors_are_served_where_their_type_is_trusted() -> None:
    fitted = SVC().fit(scipy.sparse.csr_matrix(X), Y)
    assert np.array_equal(load_skops(hostile.dumped(fitted), MORE).predict(X), fitted.predict(X))
    assert load_skops(hostile.sparse_coefficients(lambda matrix: None), MORE).predict(X).shape == Y.shape


def test_a_packed_file_is_served_too() -> None:
    packed = hostile.edited(TREE, packed=ZIP_DEFLATED)
    assert load_skops(packed, TRUSTED_TYPES).predict(X).shape == Y.shape


def test_an_estimator_that_two_places_share_is_loaded_once() -> None:
    shared = StandardScaler().fit(X)
    loaded = load_skops(hostile.dumped(Pipeline([("a", shared), ("b", shared)])), HARMLESS_TYPES)
    assert loaded.steps[0][1] is loaded.steps[1][1]


# --- what reaches further than its rows ----------------------------------------------------------------------------


def test_a_model_that_reads_the_file_that_a_row_names_is_refused(tmp_path: Path) -> None:
    words = refusal(hostile.key_reader())
    assert "reads files by name (input='filename'); only input='content' is served" in words
    assert "its CountVectorizer at 'steps.columns.transformers_.text.transformer_list.first'" in words


@pytest.mark.parametrize("vectorizer", [CountVectorizer, TfidfVectorizer, partial(HashingVectorizer, n_features=64)])
@pytest.mark.parametrize("reads", ["filename", "file"])
def test_no_vectorizer_reads_files(vectorizer: Callable[..., Any] | type[Any], reads: str) -> None:
    content = hostile.text_model(
        vectorizer(), lambda pipeline: hostile.words_of(pipeline, attributes(input=reads, vocabulary_={"a": 0}))
    )
    assert f"reads files by name (input='{reads}')" in refusal(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (attributes(memory="/tmp/cache"), "caches on disk (memory='/tmp/cache'); log it with memory=None"),  # noqa: S108
        (attributes(n_jobs=10**6), "has n_jobs=1000000; expected a whole number up to 512"),
        (attributes(n_jobs="all"), "has n_jobs='all'; expected a whole number up to 512"),
    ],
)
def test_a_parameter_that_writes_files_or_starts_a_crowd_of_threads_is_refused(
    change: Callable[..., Any], words: str
) -> None:
    assert words in refusal(hostile.dumped(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), change))


def test_a_function_that_would_write_into_the_model_is_refused() -> None:
    step = FunctionTransformer(np.log1p, kw_args={"out": np.zeros((1, 4))})
    words = refusal(hostile.dumped(Pipeline([("log", step), ("classes", LogisticRegression())])))
    assert words == "its FunctionTransformer at 'steps.log' calls its function with kw_args that are no plain values"


def test_an_attribute_in_the_place_of_a_method_is_refused() -> None:
    content = hostile.dumped(LogisticRegression().fit(X, Y), attributes(decision_function=np.add))
    assert "has an attribute 'decision_function' in the place of its own code" in refusal(content)


def test_numbers_at_an_address_that_the_file_names_are_refused_before_anything_is_built() -> None:
    assert "have names that Python calls itself" in refusal(hostile.at_an_address())


def test_attributes_that_another_node_hides_are_refused_too() -> None:
    def borrow(schema: Any) -> None:
        """Give an estimator the attributes of a dictionary that stands before it: by its number it is that one to skops."""
        arguments = next(node for node in hostile.nodes(schema, "DictNode") if "out" in node["content"])
        arguments["content"] = {"__array_interface__": arguments["content"].pop("out")}
        hostile.nodes(schema, "ObjectNode")[-1]["content"]["__id__"] = arguments["__id__"]

    step = FunctionTransformer(np.log1p, kw_args={"out": 1})
    content = hostile.dumped(Pipeline([("log", step), ("scaled", StandardScaler().fit(X))]))
    assert "have names that Python calls itself" in refusal(hostile.edited(content, borrow))


# --- compiled code that does not validate its input -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (hostile.set_node("left_child", FAR), "a node has a child that is not there"),
        (hostile.set_node("right_child", -7), "a node has a child that does not come after it"),
        (hostile.set_node("feature", FAR), "a node asks for a feature that is not there"),
        (hostile.set_node("feature", -1), "a node asks for a feature that is not there"),
        (hostile.circle, "a node has a child that does not come after it"),
        (lambda state: state.update(max_depth=0), "it is deeper than it says"),
    ],
)
def test_a_tree_whose_nodes_point_elsewhere_is_refused(change: Callable[..., Any], words: str) -> None:
    assert refusal(hostile.decision_tree(change)) == f"the state of its Tree at 'tree_' does not hold together: {words}"


def set_json(loader: Any, old: Any, new: Any) -> Any:
    """Change numbers in the schema, which skops hands to what it builds."""

    def change(schema: Any) -> None:
        for node in hostile.nodes(hostile.nodes(schema, loader), "JsonNode"):
            if node["content"] == str(old):
                # Numbers of the same value are one object, and so are their nodes; this one is another.
                node.update(content=str(new), __id__=node["__id__"] + 1)

    return change


@pytest.mark.parametrize(("old", "new"), [(4, FAR), (4, 0), (1, FAR), (1, -1), (5, FAR), (5, 3)])
def test_a_tree_that_says_it_has_other_numbers_than_its_arrays_is_refused_before_it_is_built(
    old: int, new: int
) -> None:
    content = hostile.decision_tree(lambda state: None)
    assert "its model has a tree of nodes (5,)" in refusal(hostile.edited(content, set_json("TreeNode", old, new)))


def test_a_tree_without_nodes_or_of_another_kind_of_node_is_refused_before_it_is_built() -> None:
    def empty(schema: Any) -> None:
        (tree,) = hostile.nodes(schema, "TreeNode")
        tree["content"]["content"] = {}

    def call(schema: Any) -> None:
        (tree,) = hostile.nodes(schema, "TreeNode")
        tree.update(__loader__="ConstructorFromReduceNode", content=tree.pop("__reduce__")["args"])

    assert "cannot be loaded: KeyError" in refusal(hostile.edited(TREE, empty))
    assert refusal(hostile.edited(TREE, call)) == (
        "its model has a ConstructorFromReduceNode of the type sklearn.tree._tree.Tree, which does not belong to it"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: hostile.forest(lambda forest: vars(forest).pop("n_features_in_")), "how many features it takes"),  # type: ignore[attr-defined]
        (lambda: hostile.forest(attributes(n_features_in_=1)), "a tree takes other features"),
        (
            lambda: hostile.forest(lambda forest: vars(forest).update(estimators_=np.array(forest.estimators_))),  # type: ignore[attr-defined]
            "no list",
        ),
        (lambda: hostile.boosted(lambda found: vars(found.estimators_[0, 0]).update(tree_=None)), "NoneType"),
        (lambda: hostile.boosted(lambda found: vars(found.init_).update(class_prior_=np.ones(1))), "other classes"),
        (
            lambda: hostile.boosted(attributes(init_=LogisticRegression())),
            "another estimator (init), which is not served",
        ),
        (lambda: hostile.boosted(attributes(n_trees_per_iteration_=1)), "trees per iteration"),
        (lambda: hostile.boosted(attributes(_loss=HalfBinomialLoss())), "its loss is not that of its trees"),
        (lambda: hostile.boosted(lambda found: vars(found._loss).update(is_multiclass=False)), "its loss is not that"),
        (lambda: hostile.boosted(lambda found: vars(found._loss).update(link=StandardScaler())), "another link"),
        (lambda: hostile.boosted(lambda found: vars(found.init_).update(_strategy="uniform")), "something unusual"),
        (lambda: hostile.boosted(lambda found: vars(found.init_).update(n_classes_=1)), "other classes"),
        (lambda: hostile.boosted(attributes(init_=DummyRegressor().fit(X, Y))), "starts from another estimator"),
        (lambda: hostile.histogram(hostile.predictors("left", 2**31)), "a node has a child that is not there"),
        (lambda: hostile.histogram(hostile.predictors("right", 0)), "a child that does not come after it"),
        (lambda: hostile.histogram(hostile.predictors("feature_idx", FAR)), "asks for a feature that is not there"),
        (lambda: hostile.histogram(hostile.categorical), "raw_left_cat_bitsets are too few"),
        (lambda: hostile.histogram(hostile.uncategorical), "the category of a feature that has none"),
        (lambda: hostile.histogram(attributes(_bin_mapper=StandardScaler())), "something else than bins"),
        (lambda: hostile.histogram(lambda found: found._predictors.__setitem__(0, np.array([]))), "no list"),
        (lambda: hostile.histogram(attributes(_in_fit=True)), "it says that it is being fitted"),
        (lambda: hostile.histogram(attributes(_preprocessor=StandardScaler())), "its preprocessor is not its own"),
        (lambda: hostile.kd_tree(lambda state: state[1].fill(FAR)), "it has a row that is not there"),
        (lambda: hostile.kd_tree(lambda state: state[2]["idx_end"].fill(FAR)), "a node has rows that are not there"),
        (lambda: hostile.kd_tree(lambda state: state[2]["is_leaf"].fill(0)), "a node has a child that is not there"),
        (lambda: hostile.kd_tree(lambda state: state.__setitem__(11, None)), "it has no distance"),
        (lambda: hostile.kd_tree(lambda state: state.__setitem__(3, state[3][:, :1].copy())), "its bounds"),
        (lambda: hostile.nearest(lambda found: found._y.fill(FAR), algorithm="brute"), "not one of its classes"),
        (lambda: hostile.nearest(attributes(_y=np.zeros(1, int)), algorithm="brute"), "not a label per row"),
        (lambda: hostile.nearest(attributes(n_samples_fit_=10**6), algorithm="brute"), "not as many rows as it says"),
        (lambda: hostile.nearest(attributes(n_features_in_=1), algorithm="brute"), "not as wide as it says"),
        (lambda: hostile.kd_tree(lambda state: state.__setitem__(6, FAR)), "not as many nodes as it says"),
        (lambda: hostile.nearest(attributes(classes_=[np.zeros(99), 1]), algorithm="brute"), "its classes are no list"),
        (lambda: hostile.nearest(attributes(outputs_2d_=True), algorithm="brute"), "not as many labels per row"),
        (lambda: hostile.nearest(attributes(metric="precomputed"), algorithm="brute"), "another one than it says"),
        (
            lambda: hostile.nearest(attributes(effective_metric_params_={"Y_norm_squared": np.zeros(1)})),
            "it brings norms of rows along",
        ),
        (
            lambda: hostile.nearest(attributes(effective_metric_params_={"VI": np.eye(1)})),
            "its distance is of other rows",
        ),
        (
            lambda: hostile.dumped(RadiusNeighborsClassifier(radius=5, algorithm="brute", p=1).fit(X, Y)),
            "it does not look at how wide a row is; fit it with algorithm='kd_tree'",
        ),
        (
            lambda: hostile.dumped(EllipticEnvelope(support_fraction=1.0).fit(X), attributes(precision_=np.eye(1))),
            "its precision_ is of other rows",
        ),
        (hostile.bisected, "a centre is not as wide as it says"),
        (hostile.birch, "its norms are not those of its centres"),
        (hostile.machine_of_columns, "its vectors are not kept row by row"),
        (lambda: hostile.nearest(attributes(n_neighbors=61)), "asks for more neighbours than it has"),
        (lambda: hostile.machine(SVC, attributes(_n_support=np.zeros(9000, np.int32))), "not those of its classes"),
        (lambda: hostile.machine(SVR, attributes(_n_support=np.zeros(9000, np.int32))), "its coefficients"),
        (lambda: hostile.machine(SVC, attributes(_intercept_=np.zeros(1))), "its intercepts are too few"),
        (lambda: hostile.machine(SVC, attributes(_probA=np.zeros(1))), "_probA is not that of its classes"),
        (lambda: hostile.machine(SVC, attributes(_dual_coef_=np.zeros((1, 1)))), "its coefficients"),
        (lambda: hostile.machine(SVC, attributes(n_features_in_=1)), "its vectors are not as wide as it says"),
        (lambda: hostile.machine(SVR, attributes(_impl="c_svc")), "it has no two classes"),
        (lambda: hostile.machine(OneClassSVM, attributes(kernel=np.add)), "its kernel is none of libsvm's own"),
        (
            lambda: hostile.dumped(KMeans(3, n_init=1).fit(X), attributes(cluster_centers_=np.zeros((1, 1)))),
            "its centres",
        ),
        (lambda: hostile.dumped(KMeans(3, n_init=1).fit(X), attributes(_n_threads=10**6)), "_n_threads=1000000"),
        (lambda: hostile.sparse_coefficients(lambda matrix: matrix.indices.fill(2**30)), "indices must be < 4"),
        (
            lambda: hostile.sparse_coefficients(lambda matrix: matrix.indptr.__setitem__(1, 2**30)),
            "does not hold together",
        ),
    ],
    ids=count(),
)
def test_a_state_that_compiled_code_would_follow_out_of_its_arrays_is_refused(
    content: Callable[..., Any], words: str
) -> None:
    found = refusal(content())
    assert words in found
    assert "does not hold together" in found or "expected a whole number" in found or "not trusted" in found


RARE = {"min_frequency": 16}


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (attributes(_default_to_infrequent_mappings=[np.full(4, FAR), None]), RARE, "a column that is not there"),
        (attributes(_default_to_infrequent_mappings=[None, None]), RARE, "rare categories without a map of them"),
        (lambda found: found._infrequent_indices[0].fill(FAR), RARE, "a rare category is not there"),
        (attributes(_infrequent_indices=np.zeros((2, 1), int)), RARE, "its list of rare categories is no list"),
        (attributes(_n_features_outs=[4, 10**6]), {}, "not as many columns as categories"),
        (attributes(_n_features_outs=np.array([4, 3])), {}, "its numbers of columns is no list"),
        (attributes(_n_features_outs=[4.0, 3]), {}, "a number of columns is no whole number"),
        (attributes(categories_=np.zeros((2, 4))), {}, "its categories is no list"),
        (
            attributes(categories_=[np.array([3.0, 2, 1, 0]), np.array([5.0, 6, 7])]),
            {},
            "its categories are not in order",
        ),
        (attributes(_drop_idx_after_grouping=np.array([9, 0], dtype=object)), {}, "drops a category that is not there"),
        (attributes(_drop_idx_after_grouping=np.array([0], dtype=object)), {}, "is not that of its columns"),
        (attributes(_drop_idx_after_grouping=[0, 0]), {}, "its list of dropped categories is no array"),
    ],
)
def test_an_encoder_whose_categories_have_columns_elsewhere_is_refused(
    change: Callable[..., Any], options: dict[Any, Any], words: str
) -> None:
    assert words in refusal(hostile.encoder(change, **options), HARMLESS_TYPES)


def expanding(step: Any, change: hostile.Change) -> bytes:
    """Return a model whose first step makes more columns, with something else in that step's state."""
    return hostile.dumped(make_pipeline(step, LinearRegression()).fit(X, Y), lambda found: change(found[0]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (attributes(_n_out_full=40), "its _n_out_full is not the number of its columns"),
        (attributes(n_output_features_=40), "its n_output_features_ is not the number of its columns"),
        (attributes(_max_degree=1), "its n_output_features_ is not the number of its columns"),
        (attributes(_max_degree=10**9, _n_out_full=2**40), "its degrees are not from 0 to 100"),
        (attributes(_min_degree=-1), "its degrees are not from 0 to 100"),
        (attributes(_n_out_full=15.0), "_n_out_full is no whole number"),
        (attributes(n_features_in_=3), "is not the number of its columns"),
        (attributes(include_bias=False), "is not the number of its columns"),
    ],
)
def test_a_polynomial_with_room_for_columns_that_it_does_not_fill_is_refused(
    change: hostile.Change, words: str
) -> None:
    assert words in refusal(expanding(PolynomialFeatures(2), change))


@pytest.mark.parametrize("target_type", ["multiclass", "continuous"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda step: step.encodings_.pop(), "it has not a list of encodings per column"),
        (lambda step: step.encodings_.append(step.encodings_[0]), "it has not a list of encodings per column"),
        (lambda step: step.categories_.pop(), "it has not a list of categories per column"),
        (attributes(n_features_in_=5), "it has not a list of categories per column"),
        (attributes(encodings_=np.zeros((4, 60))), "its encodings is no list"),
        (lambda step: step.encodings_.__setitem__(0, np.zeros(1)), "its encodings are not those of its categories"),
        (lambda step: step.encodings_.__setitem__(0, "x" * 60), "its encodings is no array"),
    ],
)
def test_an_encoder_with_columns_that_it_has_no_numbers_for_is_refused(
    target_type: str, change: hostile.Change, words: str
) -> None:
    assert words in refusal(expanding(TargetEncoder(target_type=target_type, cv=2), change))


@pytest.mark.parametrize(
    "change", [attributes(classes_=np.arange(9)), attributes(classes_=None), attributes(target_mean_=np.zeros(2))]
)
def test_an_encoder_of_other_classes_than_it_has_numbers_for_is_refused(change: hostile.Change) -> None:
    words = refusal(expanding(TargetEncoder(target_type="multiclass", cv=2), change))
    assert "the state of its TargetEncoder" in words


def test_a_model_of_a_larger_machine_starts_no_more_threads_than_this_one_has() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    clusters = load_skops(hostile.dumped(KMeans(3, n_init=1).fit(X), attributes(_n_threads=500)), MORE)
    forest = load_skops(hostile.dumped(ExtraTreesRegressor(3).fit(X, Y), attributes(n_jobs=500)), MORE)
    assert (clusters._n_threads, forest.n_jobs) == (cores, cores)
    assert clusters.predict(X).shape == Y.shape


@pytest.mark.parametrize(
    "vocabulary", [{"one": FAR}, {"one": -1}, {"one": 0, "two": 0}, {"one": 0, "two": 2}, {"one": "0"}]
)
def test_a_vocabulary_whose_words_have_columns_elsewhere_is_refused(vocabulary: dict[Any, Any]) -> None:
    content = hostile.text_model(
        CountVectorizer(), lambda pipeline: hostile.words_of(pipeline, attributes(vocabulary_=vocabulary))
    )
    assert "does not number its words 0, 1, … each once" in refusal(content, HARMLESS_TYPES)


@pytest.mark.parametrize("count", [0, -1, 2**40, "many"])
def test_a_number_of_hashes_that_nothing_can_be_divided_by_is_refused(count: int | str) -> None:
    content = hostile.text_model(
        HashingVectorizer(n_features=64), lambda pipeline: hostile.words_of(pipeline, attributes(n_features=count))
    )
    assert "expected a whole number from 1 to 2147483647" in refusal(content, HARMLESS_TYPES)


# --- the file ------------------------------------------------------------------------------------------------------


def test_references_that_stand_for_more_nodes_than_a_file_could_have_are_refused() -> None:
    assert "refers to its own parts more than 2000000 times" in refusal(hostile.edited(PLAIN, hostile.references(40)))


def test_a_node_within_itself_is_refused() -> None:
    def itself(schema: Any) -> None:
        schema["content"]["content"]["classes_"] = hostile.listed([hostile.listed([], 7)], 7)

    assert refusal(hostile.edited(PLAIN, itself)) == "its model has a 'list' within itself"


def test_one_part_that_many_nodes_would_read_is_refused() -> None:
    def many(schema: Any) -> None:
        (array, *_) = hostile.nodes(schema, "NdArrayNode")
        copies = [{**array, "__id__": number} for number in range(1, 1000)]
        schema["content"]["content"]["coef_"] = hostile.listed(copies, 1001)

    assert "is read by two nodes" in refusal(hostile.edited(PLAIN, many))


def test_what_is_nested_too_deep_is_refused() -> None:
    def deep(schema: Any) -> None:
        found = hostile.listed([], 1)
        for number in range(2, 400):
            found = hostile.listed([found], number)
        schema["content"]["content"]["classes_"] = found

    assert "is nested deeper than 150 levels" in refusal(hostile.edited(PLAIN, deep))


@pytest.mark.parametrize(
    ("loader", "words"),
    [
        ("CachedNode", "a node of the kind 'CachedNode', which is not read here"),
        ("QuantileForestNode", "a node of the kind 'QuantileForestNode', which is not read here"),
        (None, "a node of the kind None"),
    ],
)
def test_a_kind_of_node_that_skops_does_not_write_is_refused(loader: str | None, words: str) -> None:
    def change(schema: Any) -> None:
        schema["content"]["content"]["C"]["__loader__"] = loader

    assert words in refusal(hostile.edited(PLAIN, change))


@pytest.mark.parametrize(
    "part",
    [
        hostile.npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"),
        hostile.npy("{'descr': '<U0', 'fortran_order': False, 'shape': (1099511627776,), }"),
        hostile.npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n"),
        hostile.npy("{'descr': ('<f8', (9,)), 'fortran_order': False, 'shape': (0,), }"),
        b"PK\x03\x04",
        b"",
    ],
)
def test_an_array_that_is_not_as_large_as_it_says_or_no_array_is_refused(part: bytes) -> None:
    (array, *_) = hostile.nodes(schema_of(PLAIN), "NdArrayNode")
    words = refusal(hostile.edited(PLAIN, parts={array["file"]: part}))
    assert "is not as large as it says" in words or "expected numbers or text" in words or "as NumPy writes it" in words


def schema_of(content: Any) -> Any:
    found: list[Any] = []
    hostile.edited(content, found.append)
    return found[0]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"../model.py": b"x"}, "has a part '../model.py', which skops does not write"),
        ({"model.pkl": b"x"}, "has a part 'model.pkl', which skops does not write"),
        ({"schema.json": None}, "its model has no schema.json"),
        ({"schema.json": b"[" * 100_000}, "cannot be loaded: RecursionError"),
        ({"schema.json": b"[]," * (grammar.MOST_OPENED + 1)}, "has too many objects"),
    ],
    ids=range(5),
)
def test_a_file_that_skops_would_not_have_written_is_refused(parts: dict[Any, Any], words: str) -> None:
    assert words in refusal(hostile.edited(PLAIN, parts=parts, packed=ZIP_DEFLATED))


def test_a_file_that_unpacks_to_far_more_than_it_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SMALL", 100_000)
    content = hostile.edited(PLAIN, parts={"1.npy": b"\0" * 200_000}, packed=ZIP_DEFLATED)
    assert "expected at most 20 times as many" in refusal(content)


def test_a_directory_of_more_parts_than_a_model_has_is_refused_unread() -> None:
    end = PLAIN.rindex(b"PK\5\6")
    lying = PLAIN[: end + 12] + (2**31).to_bytes(4, "little") + PLAIN[end + 16 :]
    assert "lists too many parts: 2147483648 bytes of names" in refusal(lying)


def test_what_is_no_zip_file_is_refused() -> None:
    assert "its file model.skops cannot be loaded: ValueError: it is no zip file" in refusal(b"\x80\x04N.")


@pytest.mark.parametrize(("old", "new"), [(4, 10**9), (4, 0)])
def test_a_random_generator_of_an_unusual_pool_is_refused(old: int, new: int) -> None:
    content = hostile.histogram(lambda estimator: None)
    words = refusal(hostile.edited(content, set_json("RandomGeneratorNode", old, new)))
    assert words == f"its model has a random generator 'PCG64' with a pool of {new}"


def test_a_random_state_outside_of_its_buffer_is_refused() -> None:
    content = hostile.dumped(SGDClassifier(random_state=np.random.RandomState(0)))
    words = refusal(hostile.edited(content, set_json("RandomStateNode", 624, FAR)))
    assert words == f"its model has a random state at {FAR} of a buffer of 624"


def state_of(loader: Any, *path: Any) -> Any:
    """Return what finds a dictionary in the state of the first node of some kind."""

    def found(schema: Any) -> Any:
        (node, *_) = hostile.nodes(schema, loader)
        for name in ("content", *path):
            node = node[name]
        return node

    return found


HIDDEN = [
    (
        hostile.dumped(SGDClassifier(random_state=np.random.RandomState(0))),
        state_of("RandomStateNode", "content", "state"),
        "pos",
        10**6,
    ),
    (
        hostile.histogram(lambda estimator: None),
        state_of("RandomGeneratorNode", "bit_generator"),
        "bit_generator",
        "MT19937",
    ),
    (hostile.histogram(lambda estimator: None), state_of("RandomGeneratorNode", "seed_seq"), "pool_size", 10**9),
    (TREE, state_of("TreeNode"), "node_count", 10**6),
]


@pytest.mark.parametrize(("content", "state", "name", "value"), HIDDEN, ids=[name for _, _, name, _ in HIDDEN])
def test_a_number_that_is_shown_in_the_place_of_the_one_that_is_built_with_is_not_believed(
    content: Any, state: Any, name: Any, value: Any
) -> None:
    found = hostile.edited(content, lambda schema: hostile.hidden(state(schema), name, value))
    assert refusal(found) == "its model has a DefaultDictNode where a dict belongs"


def test_a_name_that_becomes_another_one_when_it_is_built_is_refused() -> None:
    def renamed(schema: Any) -> None:
        """Say that 'pos' is a name of NumPy's, which leaves out what follows the text."""
        state = state_of("RandomStateNode", "content", "state")(schema)
        (kind, *_) = state["key_types"]["content"]
        state["content"]["pos\0"] = {**state["content"]["pos"], "content": str(FAR), "__id__": 1}
        state["key_types"]["content"].append({**kind, "__class__": "str_", "__module__": "numpy", "__id__": 2})

    content = hostile.dumped(SGDClassifier(random_state=np.random.RandomState(0)))
    assert refusal(hostile.edited(content, renamed)) == "its model has a dict of other names than its file says"


def test_types_that_are_not_trusted_are_named_up_to_a_number() -> None:
    def strange(schema: Any) -> None:
        schema["content"]["content"]["classes_"] = hostile.listed(
            [
                {"__class__": f"\x1b[{i}m", "__module__": "m", "__loader__": "ObjectNode", "__id__": i}
                for i in range(1, 99)
            ],
            100,
        )

    words = refusal(hostile.edited(PLAIN, strange))
    assert "\x1b" not in words
    assert f" and 90 more; MODEL_TRUSTED_TYPES names more of them; {VOUCH}" in words
    assert json.dumps(words)


# --- what is looked at beneath an estimator's attributes -----------------------------------------------------------


class Unknown:
    """A type that nobody has named."""


class FakeList(list[Any]):
    """A type that the settings may name, with more in it than its attributes."""


class FakeMapping(dict[str, Any]):
    """Another one."""


NOT_KNOWN = (
    r"it has an object of the type tests\.integration\.test_trust_state\.Unknown at 'held_.*', which is not known here"
)


@pytest.mark.parametrize(
    ("held", "trusted"),
    [
        (Unknown(), ()),
        ([[Unknown()]], ()),
        ({"key": (Unknown(),)}, ()),
        (np.array([1, Unknown()], dtype=object), ()),
        (np.array([[1, "a"], [{}, {0: Unknown()}]], dtype=object), ()),
        (partial(dict, Unknown()), ("functools.partial", "builtins.dict")),
        (partial(dict, key=Unknown()), ("functools.partial", "builtins.dict")),
        (FakeList([Unknown()]), ("tests.integration.test_trust_state.FakeList",)),
        (FakeMapping(key=Unknown()), ("tests.integration.test_trust_state.FakeMapping",)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_object_that_is_not_known_is_found_wherever_it_is_held(held: Any, trusted: tuple[str, ...]) -> None:
    estimator = LogisticRegression().fit(X, Y)
    estimator.held_ = held
    with pytest.raises(Refused, match=NOT_KNOWN):
        state.check(estimator, frozenset(trusted))


def test_a_class_of_scikit_learns_that_is_no_estimator_is_not_known_for_its_name_alone() -> None:
    estimator = LogisticRegression().fit(X, Y)
    estimator.held_ = Bunch(a=1)
    with pytest.raises(Refused, match=r"of the type sklearn\.utils\._bunch\.Bunch at"):
        state.check(estimator, frozenset())


def test_what_holds_itself_is_looked_at_once() -> None:
    estimator = LogisticRegression().fit(X, Y)
    estimator.held_ = [estimator]
    estimator.held_.append(estimator.held_)
    state.check(estimator, frozenset())


@pytest.mark.parametrize("name", ["n_jobs", "_n_threads", "n_threads"])
def test_as_many_threads_as_a_machine_may_have_are_lowered_to_what_is_here_and_more_are_refused(name: str) -> None:
    values: dict[str, Any] = {name: 512}
    parameters.check(LogisticRegression(), values, "")
    assert values == {name: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()}
    with pytest.raises(Refused, match=rf"its LogisticRegression at 'model\.step' has {name}='?513"):
        parameters.check(LogisticRegression(), {name: 513}, "model.step")


@pytest.mark.parametrize("count", [1, 2**31 - 1])
def test_as_many_hashes_as_there_can_be_are_served(count: int) -> None:
    parameters.check(HashingVectorizer(), {"n_features": count}, "")


@pytest.mark.parametrize("count", [0, 2**31, None, 2.5])
def test_another_number_of_hashes_is_refused(count: Any) -> None:
    with pytest.raises(Refused, match=r"its HashingVectorizer has n_features=.*; expected a whole number from 1 to"):
        parameters.check(HashingVectorizer(), {"n_features": count}, "")


@pytest.mark.parametrize("name", ["kw_args", "inv_kw_args"])
def test_a_function_is_called_with_plain_values_alone(name: str) -> None:
    parameters.check(FunctionTransformer(), {name: {"a": 1, "b": "x", "c": None}}, "")
    with pytest.raises(Refused, match=f"calls its function with {name} that are no plain values"):
        parameters.check(FunctionTransformer(), {name: {"out": np.zeros(1)}}, "")


# --- the file, and where an index ends -----------------------------------------------------------------------------


def zipped(*parts: tuple[str, bytes], method: int = ZIP_DEFLATED) -> ZipFile:
    file = BytesIO()
    with ZipFile(file, "w", method) as content, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a name that is there already
        for name, part in parts:
            content.writestr(name, part)
    return ZipFile(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped(("1.npy", b"a"), ("1.npy", b"b")), "has 2 parts, or two of one name; expected at most 3"),
        (
            zipped(*((f"{number}.npy", b"a") for number in range(4))),
            "has 4 parts, or two of one name; expected at most 3",
        ),
        (zipped(("1.npy", b"a"), method=ZIP_LZMA), "part 1.npy is encrypted, or packed by an unusual method"),
    ],
    ids=range(3),
)
def test_a_file_of_other_parts_than_skops_writes_is_refused(content: ZipFile, words: str) -> None:
    with pytest.raises(Refused, match=words):
        archive.check_entries(content, 3, lambda name: True, 100)


def test_a_part_that_is_encrypted_is_refused() -> None:
    content = zipped(("1.npy", b"a"))
    content.infolist()[0].flag_bits |= 1
    with pytest.raises(Refused, match=r"part 1\.npy is encrypted"):
        archive.check_entries(content, 3, lambda name: True, 100)


def test_a_part_that_is_named_and_not_there_is_refused() -> None:
    with pytest.raises(Refused, match=r"names a part '2\.npy' that it does not have"):
        archive.Arrays(zipped(("1.npy", b"a"))).check_bytes("2.npy")


def test_all_sparse_matrices_together_unpack_to_no_more_than_a_version_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = BytesIO()
    scipy.sparse.save_npz(matrix, scipy.sparse.csr_matrix(np.eye(30)))
    arrays = archive.Arrays(zipped(("1.npz", matrix.getvalue()), ("2.npz", matrix.getvalue())))
    size = sum(entry.file_size for entry in ZipFile(matrix).infolist())
    monkeypatch.setattr("contract.limits.MOST_BYTES", 2 * size - 1)
    arrays.check_sparse("1.npz")
    with pytest.raises(Refused, match="its sparse matrices have more than"):
        arrays.check_sparse("2.npz")


@pytest.mark.parametrize(("index", "holds"), [(0, True), (2, True), (3, False), (-1, False)])
def test_the_last_index_is_one_less_than_there_are_places(index: int, holds: bool) -> None:
    expected = nullcontext() if holds else pytest.raises(conditions.DoesNotHold, match="an index is not there")
    with expected:
        conditions.within(np.array([0, index, 1]), 3, "an index is not there")
