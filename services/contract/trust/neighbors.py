"""What is near: rows, trees and centres that a row is compared with, each as wide as a row that is asked about."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.cluster._kmeans import _BaseKMeans
from sklearn.neighbors import BallTree, KDTree, KernelDensity, KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.neighbors._base import NeighborsBase

from contract.trust.conditions import array, features, must, within


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
