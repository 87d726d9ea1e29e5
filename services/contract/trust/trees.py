"""Decision trees, and ensembles of them: their nodes name children and features, and their leaves add to one matrix."""

from typing import Any

import numpy as np
from sklearn._loss.link import HalfLogitLink, IdentityLink, LogitLink, MultinomialLogit
from sklearn._loss.loss import (
    AbsoluteError,
    ExponentialLoss,
    HalfBinomialLoss,
    HalfMultinomialLoss,
    HalfSquaredError,
    HuberLoss,
    PinballLoss,
)
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
from sklearn.tree import BaseDecisionTree, DecisionTreeRegressor
from sklearn.tree._tree import Tree

from contract.trust.conditions import array, features, listed, must, whole, within

LEAF = -1
BITSET = 8
# Of gradient boosting: what makes a column of what it starts from, and what one for each class.
LOSSES_OF_CLASSES = (HalfMultinomialLoss,)
LOSSES_OF_TWO = (HalfBinomialLoss, ExponentialLoss)
LOSSES_OF_VALUES = (HalfSquaredError, AbsoluteError, HuberLoss, PinballLoss)
LINKS = (IdentityLink, LogitLink, HalfLogitLink, MultinomialLogit)


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
    for member in listed(estimator.estimators_, "its list of trees"):
        must(isinstance(member, BaseDecisionTree) and features(member) == expected, "a tree takes other features")


def gradient_boosting(estimator: BaseGradientBoosting) -> None:
    """All trees add to one matrix of (rows, trees per iteration), which its start and its loss have made."""
    stages = array(estimator.estimators_, 2, "O", "its trees")
    width = whole(estimator.n_trees_per_iteration_, "its number of trees per iteration")
    must(stages.shape[1] == width and stages.shape[0] >= 1, "it has not as many trees per iteration as it says")
    expected = features(estimator)
    for member in stages.ravel():
        must(type(member) is DecisionTreeRegressor and features(member) == expected, "a tree takes other features")
        must((member.tree_.n_outputs, member.tree_.max_n_classes) == (1, 1), "a tree has more than one value")
    start = estimator.init_
    if not (isinstance(start, str) and start == "zero"):
        _check_loss(estimator, width)
        check = _check_prior if is_classifier(estimator) else _check_constant
        check(start, width)


def _check_loss(estimator: BaseGradientBoosting, width: int) -> None:
    """Its loss makes one column of what it starts from, or one for each class."""
    loss = estimator._loss
    kinds = (LOSSES_OF_CLASSES if width > 1 else LOSSES_OF_TWO) if is_classifier(estimator) else LOSSES_OF_VALUES
    must(type(loss) in kinds and "is_multiclass" not in vars(loss), "its loss is not that of its trees")
    must(type(loss.link) in LINKS, "its loss has another link")


def _check_prior(start: Any, width: int) -> None:
    must(type(start) is DummyClassifier, "it starts from another estimator (init), which is not served")
    must(start._strategy == "prior" and whole(start.n_outputs_, "its start") == 1, "it starts from something unusual")
    classes = max(width, 2)
    must(array(start.class_prior_, 1, "f", "the prior").size == classes, "it starts from other classes")
    must(whole(start.n_classes_, "its start") == classes, "it starts from other classes")


def _check_constant(start: Any, width: int) -> None:
    must(type(start) is DummyRegressor, "it starts from another estimator (init), which is not served")
    must(width == 1 and whole(start.n_outputs_, "its start") == 1, "it starts from something unusual")
    must(array(start.constant_, 2, "iuf", "its constant").shape == (1, 1), "it starts from something unusual")


def hist_gradient_boosting(estimator: BaseHistGradientBoosting) -> None:
    """Check that it has trees alone, whose nodes ask for features that are there, and for categories where there are some."""
    expected, mapper = features(estimator), estimator._bin_mapper
    must(not vars(estimator).get("_in_fit"), "it says that it is being fitted")
    must(type(mapper) is _BinMapper, "it has something else than bins")
    categorical = array(mapper.is_categorical_, 1, "bu", "its list of categorical features")
    must(categorical.size == expected, "its features are not those of its bins")
    for iteration in listed(estimator._predictors, "its list of iterations"):
        for predictor in listed(iteration, "its list of trees"):
            must(type(predictor) is TreePredictor, "it has something else than trees")
            inner = predictor.nodes[predictor.nodes["is_leaf"] == 0]
            within(inner["feature_idx"], expected, "a node asks for a feature that is not there")
            asked = inner["feature_idx"][inner["is_categorical"] != 0]
            must(categorical[asked].all(), "a node asks for the category of a feature that has none")
    if estimator._preprocessor is not None:
        _check_preprocessor(estimator._preprocessor, expected)


def _check_preprocessor(found: Any, expected: int) -> None:
    """Histogram boosting of categories puts their columns first: as many as there were before."""
    must(type(found) is ColumnTransformer and features(found) == expected, "its preprocessor is not its own")
    (first, encoder, texts), (second, checker, numbers), *rest = listed(found.transformers_, "its preprocessor")
    must(all(step == "drop" for _, step, _ in rest), "its preprocessor is not its own")
    must(type(encoder) is OrdinalEncoder and type(checker) is FunctionTransformer, "its preprocessor is not its own")
    texts, numbers = array(texts, 1, "b", "its preprocessor"), array(numbers, 1, "b", "its preprocessor")
    must(texts.size == expected and (texts != numbers).all(), "its preprocessor leaves columns out")
    must(len(listed(encoder.categories_, "its categories")) == texts.sum(), "its preprocessor leaves columns out")
    # Of a table it takes the columns by these, in the place of those above.
    taken = found._transformer_to_input_indices
    for name, columns in ((first, texts), (second, numbers)):
        must(
            listed(taken[name], "its preprocessor") == np.flatnonzero(columns).tolist(), "its preprocessor takes others"
        )


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
