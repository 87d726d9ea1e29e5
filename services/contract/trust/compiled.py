"""What compiled code indexes with, checked: it does not validate the numbers of a fitted model, by which it reads and writes.

Each check is for the one class that it names, over whole arrays. It says of a state that no index in it leaves its array,
that no path in it goes in a circle, and that it takes rows of as many values as the estimator says.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.cluster import Birch, BisectingKMeans
from sklearn.cluster._kmeans import _BaseKMeans
from sklearn.covariance import EmpiricalCovariance
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.neighbors import BallTree, KDTree, KernelDensity
from sklearn.neighbors._base import NeighborsBase
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, TargetEncoder
from sklearn.svm._base import BaseLibSVM
from sklearn.tree import BaseDecisionTree
from sklearn.tree._tree import Tree

from contract.display import visible
from contract.errors import Refused
from contract.preparation.steps import MOST_CHARACTERS, PARTS, DateParts, Folded, Words
from contract.trust import expansion, neighbors, trees
from contract.trust.conditions import DoesNotHold, array, features, listed, must, whole, within

Check = Callable[[Any], None]
KERNELS = ("linear", "poly", "rbf", "sigmoid", "precomputed")


def check(value: Any, path: str) -> None:
    """Raise Refused where the state of an object that compiled code works on does not hold together."""
    kind: type = type(value)
    for needed, checks in _checks_of(kind):
        if needed is None or needed in vars(value):
            try:
                checks(value)
            except DoesNotHold as error:
                raise Refused(_words(value, path, str(error))) from error
            except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
                raise Refused(_words(value, path, f"{type(error).__name__}: {error}")) from error


@lru_cache
def _checks_of(kind: type) -> list[tuple[str | None, Check]]:
    return [found for base, found in CHECKS.items() if issubclass(kind, base)]


def _words(value: Any, path: str, reason: str) -> str:
    where = f" at {visible(path, 100)!r}" if path else ""
    return f"the state of its {type(value).__name__}{where} does not hold together: {visible(reason, 200)}"


def check_sparse(matrix: Any, path: str) -> None:
    """Raise Refused where the indices of a sparse matrix leave it."""
    try:
        if hasattr(matrix, "check_format"):
            matrix.check_format(full_check=True)
        else:
            matrix.tocoo(copy=True).tocsr().check_format(full_check=True)
    except Exception as error:  # what does not even convert is no matrix
        raise Refused(_words(matrix, path, str(error))) from error


def support_vectors(estimator: BaseLibSVM) -> None:
    """Check what libsvm is handed: pointers, and the number of classes from which it counts how far each of them goes."""
    vectors, counts = estimator.support_vectors_, array(estimator._n_support, 1, "i", "its numbers of vectors")
    classes, pairs = counts.size, counts.size * (counts.size - 1) // 2
    must(classes >= 2 and (counts >= 0).all() and "_impl" not in vars(estimator), "it has no two classes")
    must(isinstance(estimator.kernel, str) and estimator.kernel in KERNELS, "its kernel is none of libsvm's own")
    support = array(estimator.support_, 1, "i", "its list of vectors")
    _check_rows_of(vectors)
    precomputed = estimator.kernel == "precomputed"
    if precomputed:
        must(not estimator._sparse and estimator.shape_fit_[0] == features(estimator), "its kernel is of other rows")
        within(support, features(estimator), "it has a vector that is not there")
    else:
        must(
            vectors.ndim == 2 and vectors.shape == (support.size, features(estimator)),
            "its vectors are not as wide as it says",
        )
    if estimator._impl in ("c_svc", "nu_svc"):
        must(
            counts.sum() == support.size and len(estimator.classes_) == classes,
            "its vectors are not those of its classes",
        )
    _check_coefficients(estimator, classes, support.size)
    must(array(estimator._intercept_, 1, "f", "its intercept").size >= max(pairs, 1), "its intercepts are too few")
    for name in ("_probA", "_probB"):
        must(array(getattr(estimator, name), 1, "f", name).size in (0, pairs), f"{name} is not that of its classes")


def _check_rows_of(vectors: Any) -> None:
    """Of a sparse matrix libsvm takes each row by where it starts, which other kinds tell of columns, or not at all."""
    if scipy.sparse.issparse(vectors):
        must(vectors.format == "csr", "its vectors are not kept row by row")
    else:
        must(type(vectors) is np.ndarray, "its vectors are no matrix")


def _check_coefficients(estimator: BaseLibSVM, classes: int, count: int) -> None:
    found, sparse = estimator._dual_coef_, estimator._sparse
    must(
        type(sparse) is bool and sparse == scipy.sparse.issparse(estimator.support_vectors_),
        "its vectors are of another kind",
    )
    must(found.shape == (classes - 1, count), "its coefficients are not those of its vectors")
    if scipy.sparse.issparse(found):
        must(
            sparse and found.format == "csr" and found.data.shape == (count * (classes - 1),),
            "its coefficients are not those of its vectors",
        )
    else:
        must(type(found) is np.ndarray and not sparse, "its coefficients are of another kind")


def one_hot(encoder: OneHotEncoder) -> None:
    """Categories stand for columns. A column that is not there is written to all the same, outside of the matrix."""
    categories = listed(encoder.categories_, "its categories")
    # scikit-learn adds this list to another one: an array would be added to each number of that.
    columns = listed(encoder._n_features_outs, "its numbers of columns")
    must(len(categories) == len(columns) == features(encoder), "it has not a list of categories per column")
    counts = _counts_of_grouped(encoder, [_count_of(names) for names in categories])
    dropped = encoder._drop_idx_after_grouping
    if dropped is not None:
        dropped = array(dropped, 1, "iO", "its list of dropped categories").tolist()
        must(len(dropped) == len(counts), "its list of dropped categories is not that of its columns")
        for index, count in zip(dropped, counts, strict=True):
            there = index is None or 0 <= whole(index, "a dropped category") < count
            must(there, "it drops a category that is not there")
        counts = [count - (index is not None) for count, index in zip(counts, dropped, strict=True)]
    must(
        [whole(found, "a number of columns") for found in columns] == counts, "it has not as many columns as categories"
    )


def date_parts(step: DateParts) -> None:
    """Check that there is a first date, and a list of parts that there are, for each column."""
    parts, first = listed(step.parts_, "its parts"), listed(step.first_, "its first dates")
    must(len(parts) == len(first) == features(step) and type(step.cyclic) is bool, "it has not parts for each column")
    must(all(type(value) is float and value == value for value in first), "a first date is no number")
    must(all(set(listed(names, "its parts")) <= set(PARTS) for names in parts), "it has a part that dates do not have")


def spellings(step: Folded) -> None:
    """Check that there is a mapping of texts to texts for each column."""
    known = listed(step.spellings_, "its spellings")
    must(len(known) == features(step), "it has not spellings for each column")
    for found in known:
        holds = type(found) is dict and all(type(text) is str for pair in found.items() for text in pair)
        must(holds, "its spellings are no texts")


def words(step: Words) -> None:
    """Check how much is read of a text: all that a request costs comes after it."""
    must(whole(step.most_characters, "its limit") in range(1, MOST_CHARACTERS + 1), "it reads texts without a limit")
    must(features(step) == 1, "it is not of one column")


def _count_of(categories: Any) -> int:
    must(type(categories) is np.ndarray and categories.ndim == 1, "its categories are no list")
    _check_sorted(categories)
    return len(categories)


def _counts_of_grouped(encoder: OneHotEncoder, counts: list[int]) -> list[int]:
    """Return how many columns there are, where those of rare categories are one: which is also that of unknown ones."""
    if not vars(encoder).get("_infrequent_enabled"):
        return counts
    mappings = listed(encoder._default_to_infrequent_mappings, "its maps of rare categories")
    rare = listed(encoder._infrequent_indices, "its list of rare categories")
    must(len(mappings) == len(rare) == len(counts), "its maps of rare categories are not those of its columns")
    found = []
    for count, mapping, indices in zip(counts, mappings, rare, strict=True):
        must((mapping is None) == (indices is None), "it has rare categories without a map of them")
        if mapping is not None:
            mapping = array(mapping, 1, "i", "its map of rare categories")
            must(len(mapping) == count and count, "its map of rare categories is not that of its categories")
            within(mapping, count, "a rare category has a column that is not there")
            within(array(indices, 1, "i", "its list of rare categories"), count, "a rare category is not there")
            count = int(mapping.max()) + 1
        found.append(count)
    return found


def _check_sorted(categories: np.ndarray) -> None:
    """Numbers are looked up by halving, which may find a place behind the last where they are not in order."""
    if categories.dtype.kind in "OUS" or len(categories) < 2:
        return
    last = categories[-1] if categories.dtype.kind == "f" else 0
    ordered = categories[:-1] if last != last else categories
    must((ordered[:-1] < ordered[1:]).all(), "its categories are not in order")


# Class → the attribute without which it is not fitted and answers nothing, and what has to hold of it.
CHECKS: dict[type, tuple[str | None, Check]] = {
    Tree: (None, trees.tree),
    TreePredictor: (None, trees.predictor),
    KDTree: (None, neighbors.neighbors_tree),
    BallTree: (None, neighbors.neighbors_tree),
    BaseDecisionTree: ("tree_", trees.decision_tree),
    BaseForest: ("estimators_", trees.forest),
    BaseGradientBoosting: ("estimators_", trees.gradient_boosting),
    BaseHistGradientBoosting: ("_predictors", trees.hist_gradient_boosting),
    NeighborsBase: ("_fit_X", neighbors.neighbors),
    KernelDensity: ("tree_", neighbors.kernel_density),
    BisectingKMeans: ("_bisecting_tree", neighbors.bisecting_kmeans),
    Birch: ("subcluster_centers_", neighbors.birch),
    EmpiricalCovariance: ("location_", neighbors.covariance),
    _BaseKMeans: ("cluster_centers_", neighbors.kmeans),
    BaseLibSVM: ("support_vectors_", support_vectors),
    OneHotEncoder: ("categories_", one_hot),
    PolynomialFeatures: ("_n_out_full", expansion.polynomial),
    TargetEncoder: ("encodings_", expansion.target_encoder),
    DateParts: ("parts_", date_parts),
    Folded: ("spellings_", spellings),
    Words: ("n_features_in_", words),
}
