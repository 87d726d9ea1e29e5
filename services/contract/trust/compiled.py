"""What compiled code indexes with, checked: it believes the numbers of a fitted model, and so reads and writes by them.

Each check is for the one class that it names, over whole arrays. It says of a state that no index in it leaves its array,
that no path in it goes in a circle, and that it takes rows of as many values as the estimator says.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.cluster._kmeans import _BaseKMeans
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.neighbors import BallTree, KDTree, KernelDensity, KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.neighbors._base import NeighborsBase
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
from sklearn.svm._base import BaseLibSVM
from sklearn.tree import BaseDecisionTree, DecisionTreeRegressor
from sklearn.tree._tree import Tree

from contract.display import visible
from contract.errors import Refused

Check = Callable[[Any], None]
LEAF = -1
BITSET = 8
KERNELS = ("linear", "poly", "rbf", "sigmoid", "precomputed")


class _Wrong(Exception):
    """What does not hold of a state."""


def check(value: Any, path: str) -> None:
    """Raise Refused where the state of an object that compiled code works on does not hold together."""
    kind: type = type(value)
    for needed, checks in _checks_of(kind):
        if needed is None or needed in vars(value):
            try:
                checks(value)
            except _Wrong as error:
                raise Refused(_words(value, path, str(error))) from error
            except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
                raise Refused(_words(value, path, f"{type(error).__name__}: {error}")) from error


@lru_cache
def _checks_of(kind: type) -> list[tuple[str | None, Check]]:
    return [found for base, found in CHECKS.items() if issubclass(kind, base)]


def _words(value: Any, path: str, reason: str) -> str:
    where = f" at {visible(path, 100)!r}" if path else ""
    return f"the state of its {type(value).__name__}{where} does not hold together: {visible(reason, 200)}"


def must(holds: Any, reason: str) -> None:
    """Raise _Wrong with the reason unless it holds."""
    if not holds:
        raise _Wrong(reason)


def within(indices: np.ndarray, end: int, reason: str) -> None:
    """Every index is from 0 to end - 1."""
    must(indices.size == 0 or (indices.min() >= 0 and indices.max() < end), reason)


def array(value: Any, ndim: int, kinds: str, reason: str) -> np.ndarray:
    """Return an array of so many dimensions and of such numbers, and nothing that only behaves like one."""
    holds = type(value) is np.ndarray and value.ndim == ndim and value.dtype.kind in kinds
    must(holds, f"{reason} is no array of {ndim} dimensions and of the kind {kinds}")
    return np.asarray(value)


def features(estimator: Any) -> int:
    """Return how many values a row has, which is what scikit-learn holds each row against; without it, against nothing."""
    found = vars(estimator).get("n_features_in_")
    must(isinstance(found, int | np.integer), "it does not say how many features it takes")
    return int(found)


def check_sparse(matrix: Any, path: str) -> None:
    """Raise Refused where the indices of a sparse matrix leave it."""
    try:
        if hasattr(matrix, "check_format"):
            matrix.check_format(full_check=True)
        else:
            matrix.tocoo(copy=True).tocsr().check_format(full_check=True)
    except Exception as error:  # what does not even convert is no matrix
        raise Refused(_words(matrix, path, str(error))) from error


def tree(value: Tree) -> None:
    """Check the nodes of a decision tree: children come after their parents, which also means that each path ends."""
    nodes = value.__getstate__()["nodes"]
    left, right = nodes["left_child"], nodes["right_child"]
    inner = np.flatnonzero(left != LEAF)
    left, right = left[inner], right[inner]
    must((left > inner).all() and (right > inner).all(), "a node has a child that does not come after it")
    within(left, value.node_count, "a node has a child that is not there")
    within(right, value.node_count, "a node has a child that is not there")
    within(nodes["feature"][inner], value.n_features, "a node asks for a feature that is not there")
    must(value.max_n_classes >= 1, "it has no values")
    must(_depth(inner, left, right, value.node_count) <= value.max_depth, "it is deeper than it says")


def _depth(inner: np.ndarray, left: np.ndarray, right: np.ndarray, count: int) -> int:
    """Return the length of the longest path from the root."""
    children = np.zeros((count, 2), dtype=np.intp)
    children[inner, 0], children[inner, 1] = left, right
    level, depth = np.zeros(1, dtype=np.intp), -1
    while level.size:
        level = children[level].ravel()
        level = level[level > 0]
        depth += 1
    return depth


def decision_tree(estimator: BaseDecisionTree) -> None:
    """Check that its tree is one, and looks at the columns that it is given."""
    must(type(estimator.tree_) is Tree, "it has no tree")
    must(estimator.tree_.n_features == features(estimator), "its tree takes other features than it does")


def forest(estimator: BaseForest) -> None:
    """Check that all its members are trees of its columns."""
    expected = features(estimator)
    for member in estimator.estimators_:
        must(isinstance(member, BaseDecisionTree) and features(member) == expected, "a tree takes other features")


def gradient_boosting(estimator: BaseGradientBoosting) -> None:
    """All trees add to one matrix of (rows, trees per iteration), which what it starts from has made."""
    stages, width = array(estimator.estimators_, 2, "O", "its trees"), estimator.n_trees_per_iteration_
    must(stages.shape[1] == width and stages.shape[0] >= 1, "it has not as many trees per iteration as it says")
    expected = features(estimator)
    for member in stages.ravel():
        must(type(member) is DecisionTreeRegressor and features(member) == expected, "a tree takes other features")
        must((member.tree_.n_outputs, member.tree_.max_n_classes) == (1, 1), "a tree has more than one value")
    _check_start(estimator.init_, width)


def _check_start(start: Any, width: int) -> None:
    if isinstance(start, str) and start == "zero":
        return
    if type(start) is DummyClassifier:
        must(start.strategy == "prior" and start.n_outputs_ == 1, "it starts from something unusual")
        must(array(start.class_prior_, 1, "f", "the prior").size == max(width, 2), "it starts from other classes")
        return
    must(type(start) is DummyRegressor, "it starts from another estimator (init), which is not served")
    must(
        width == 1 and start.n_outputs_ == 1 and np.shape(start.constant_) == (1, 1), "it starts from something unusual"
    )


def hist_gradient_boosting(estimator: BaseHistGradientBoosting) -> None:
    """Check that it has trees alone, whose nodes ask for features that are there."""
    expected, mapper = features(estimator), estimator._bin_mapper
    must(not vars(estimator).get("_in_fit"), "it says that it is being fitted")
    categorical = array(mapper.is_categorical_, 1, "bu", "its list of categorical features")
    must(categorical.size == expected, "its features are not those of its bins")
    for iteration in estimator._predictors:
        for predictor in iteration:
            must(type(predictor) is TreePredictor, "it has something else than trees")
            used = predictor.nodes["feature_idx"][predictor.nodes["is_leaf"] == 0]
            within(used, expected, "a node asks for a feature that is not there")
    if estimator._preprocessor is not None:
        _check_preprocessor(estimator._preprocessor, expected)


def _check_preprocessor(found: Any, expected: int) -> None:
    """Histogram boosting of categories puts their columns first: as many as there were before."""
    must(type(found) is ColumnTransformer and found.n_features_in_ == expected, "its preprocessor is not its own")
    (_, encoder, texts), (_, checker, numbers) = found.transformers_
    must(type(encoder) is OrdinalEncoder and type(checker) is FunctionTransformer, "its preprocessor is not its own")
    texts, numbers = array(texts, 1, "b", "its preprocessor"), array(numbers, 1, "b", "its preprocessor")
    must(texts.size == expected and (texts != numbers).all(), "its preprocessor leaves columns out")
    must(len(encoder.categories_) == texts.sum(), "its preprocessor leaves columns out")


def predictor(value: TreePredictor) -> None:
    """One tree of histogram boosting; that its features are there is for its estimator to say."""
    nodes = value.nodes
    must(type(nodes) is np.ndarray and nodes.ndim == 1 and nodes.size, "its nodes are no array")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    for side in ("left", "right"):
        children = nodes[side][inner].astype(np.int64)
        must((children > inner).all(), "a node has a child that does not come after it")
        within(children, nodes.size, "a node has a child that is not there")
    for name in ("raw_left_cat_bitsets", "binned_left_cat_bitsets"):
        bitsets = array(getattr(value, name), 2, "u", name)
        must(bitsets.shape[1] == BITSET, f"{name} are no bitsets")
        within(nodes["bitset_idx"][inner][nodes["is_categorical"][inner] != 0], len(bitsets), f"{name} are too few")


def neighbors_tree(value: Any) -> None:
    """Check a tree of nearest neighbours: node i has the children 2i + 1 and 2i + 2, a leaf a range of indices of rows."""
    data, indices, nodes, bounds, leaf_size, *_, metric, weights = value.__getstate__()
    rows, width = array(data, 2, "f", "its data").shape
    within(array(indices, 1, "i", "its list of rows"), rows, "it has a row that is not there")
    must(len(indices) == rows and rows and leaf_size >= 1, "it has no rows, or not as many as it says")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    must(nodes.ndim == 1 and nodes.size and (2 * inner + 2 < nodes.size).all(), "a node has a child that is not there")
    start, end = nodes["idx_start"], nodes["idx_end"]
    must((start >= 0).all() and (start <= end).all() and (end <= rows).all(), "a node has rows that are not there")
    must(
        bounds.shape == (2 if type(value) is KDTree else 1, nodes.size, width), "its bounds are not those of its nodes"
    )
    must(metric is not None, "it has no distance")
    metric._validate_data(data)
    must(weights is None or np.shape(weights) == (rows,), "its weights are not those of its rows")


def neighbors(estimator: NeighborsBase) -> None:
    """Check what neighbours are sought among: as many rows as are said, each as wide as a row that is asked about."""
    fitted, found = estimator._fit_X, estimator._tree
    must(scipy.sparse.issparse(fitted) or type(fitted) is np.ndarray, "its rows are no matrix")
    must(fitted.ndim == 2 and fitted.shape[1] == features(estimator), "its rows are not as wide as it says")
    must(estimator.n_samples_fit_ == fitted.shape[0] >= 1, "it has not as many rows as it says")
    if found is not None:
        must(type(found) in (KDTree, BallTree), "it has something else than a tree")
        must(found.__getstate__()[0].shape == fitted.shape, "its tree is of other rows")
    if isinstance(estimator, KNeighborsClassifier | RadiusNeighborsClassifier):
        _check_labels(estimator, fitted.shape[0])
    if isinstance(estimator, KNeighborsClassifier):
        count = estimator.n_neighbors
        must(
            isinstance(count, int | np.integer) and 1 <= count <= fitted.shape[0],
            "it asks for more neighbours than it has",
        )


def _check_labels(estimator: Any, rows: int) -> None:
    """Votes are counted at the place that each label names."""
    labels, classes = estimator._y, estimator.classes_
    must(type(labels) is np.ndarray and labels.dtype.kind == "i" and len(labels) == rows, "it has not a label per row")
    columns = [labels] if labels.ndim == 1 else list(labels.T)
    sizes = [len(classes)] if not isinstance(classes, list) else [len(names) for names in classes]
    must(len(columns) == len(sizes), "it has not as many classes as labels")
    for column, size in zip(columns, sizes, strict=True):
        within(column, size, "it has a label that is not one of its classes")


def kernel_density(estimator: KernelDensity) -> None:
    """Check the tree that its neighbours are sought in."""
    must(type(estimator.tree_) in (KDTree, BallTree), "it has no tree")


def kmeans(estimator: _BaseKMeans) -> None:
    """Check that its centres are as wide as a row that is asked about."""
    centers = array(estimator.cluster_centers_, 2, "f", "its centres")
    must(centers.shape[0] >= 1 and centers.shape[1] == features(estimator), "its centres are not as wide as it says")


def support_vectors(estimator: BaseLibSVM) -> None:
    """Check what libsvm is handed: pointers, and the number of classes from which it counts how far each of them goes."""
    vectors, counts = estimator.support_vectors_, array(estimator._n_support, 1, "i", "its numbers of vectors")
    classes, pairs = counts.size, counts.size * (counts.size - 1) // 2
    must(classes >= 2 and (counts >= 0).all() and "_impl" not in vars(estimator), "it has no two classes")
    must(isinstance(estimator.kernel, str) and estimator.kernel in KERNELS, "its kernel is none of libsvm's own")
    support = array(estimator.support_, 1, "i", "its list of vectors")
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


def _check_coefficients(estimator: BaseLibSVM, classes: int, count: int) -> None:
    found, sparse = estimator._dual_coef_, estimator._sparse
    must(
        type(sparse) is bool and sparse == scipy.sparse.issparse(estimator.support_vectors_),
        "its vectors are of another kind",
    )
    must(found.shape == (classes - 1, count), "its coefficients are not those of its vectors")
    if scipy.sparse.issparse(found):
        must(sparse and found.data.shape == (count * (classes - 1),), "its coefficients are not those of its vectors")
    else:
        must(type(found) is np.ndarray and not sparse, "its coefficients are of another kind")


def one_hot(encoder: OneHotEncoder) -> None:
    """Categories stand for columns. A column that is not there is written to all the same, outside of the matrix."""
    must(
        len(encoder.categories_) == len(encoder._n_features_outs) == features(encoder),
        "it has not a list of categories per column",
    )
    dropped, rare = encoder._drop_idx_after_grouping, vars(encoder).get("_infrequent_enabled")
    for i, categories in enumerate(encoder.categories_):
        must(type(categories) is np.ndarray and categories.ndim == 1, "its categories are no list")
        _check_sorted(categories)
        count = len(categories)
        if rare and encoder._default_to_infrequent_mappings[i] is not None:
            mapping = array(encoder._default_to_infrequent_mappings[i], 1, "i", "its map of rare categories")
            must(len(mapping) == count and count, "its map of rare categories is not that of its categories")
            within(mapping, count, "a rare category has a column that is not there")
            count = int(mapping.max()) + 1
        if dropped is not None and dropped[i] is not None:
            must(
                isinstance(dropped[i], int | np.integer) and 0 <= dropped[i] < count,
                "it drops a category that is not there",
            )
            count -= 1
        must(encoder._n_features_outs[i] == count, "it has not as many columns as categories")


def _check_sorted(categories: np.ndarray) -> None:
    """Numbers are looked up by halving, which may find a place behind the last where they are not in order."""
    if categories.dtype.kind in "OUS" or len(categories) < 2:
        return
    last = categories[-1] if categories.dtype.kind == "f" else 0
    ordered = categories[:-1] if last != last else categories
    must((ordered[:-1] < ordered[1:]).all(), "its categories are not in order")


# Class → the attribute without which it is not fitted and answers nothing, and what has to hold of it.
CHECKS: dict[type, tuple[str | None, Check]] = {
    Tree: (None, tree),
    TreePredictor: (None, predictor),
    KDTree: (None, neighbors_tree),
    BallTree: (None, neighbors_tree),
    BaseDecisionTree: ("tree_", decision_tree),
    BaseForest: ("estimators_", forest),
    BaseGradientBoosting: ("estimators_", gradient_boosting),
    BaseHistGradientBoosting: ("_predictors", hist_gradient_boosting),
    NeighborsBase: ("_fit_X", neighbors),
    KernelDensity: ("tree_", kernel_density),
    _BaseKMeans: ("cluster_centers_", kmeans),
    BaseLibSVM: ("support_vectors_", support_vectors),
    OneHotEncoder: ("categories_", one_hot),
}
