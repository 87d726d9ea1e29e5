"""What is near: rows, trees and centres that a row is compared with, each as wide as a row that is asked about."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.cluster import Birch, BisectingKMeans
from sklearn.cluster._kmeans import _BaseKMeans
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics._pairwise_distances_reduction import RadiusNeighborsClassMode
from sklearn.neighbors import BallTree, KDTree, KernelDensity, KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.neighbors._base import NeighborsBase
from sklearn.neighbors._classification import _adjusted_metric

from contract.trust.conditions import array, features, listed, must, whole, within


def neighbors_tree(value: Any) -> None:
    """Check a tree of nearest neighbours: node i has the children 2i + 1 and 2i + 2, a leaf a range of indices of rows."""
    data, indices, nodes, bounds, leaf_size, _, count, *_, metric, weights = value.__getstate__()
    rows, width = array(data, 2, "f", "its data").shape
    within(array(indices, 1, "i", "its list of rows"), rows, "it has a row that is not there")
    must(len(indices) == rows and rows and leaf_size >= 1, "it has no rows, or not as many as it says")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    must(nodes.ndim == 1 and nodes.size and (2 * inner + 2 < nodes.size).all(), "a node has a child that is not there")
    must(count == nodes.size, "it has not as many nodes as it says")
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
    rows = whole(estimator.n_samples_fit_, "its number of rows")
    must(rows == fitted.shape[0] >= 1, "it has not as many rows as it says")
    if found is not None:
        must(type(found) in (KDTree, BallTree), "it has something else than a tree")
        must(found.__getstate__()[0].shape == fitted.shape, "its tree is of other rows")
    _check_distance(estimator)
    if isinstance(estimator, KNeighborsClassifier | RadiusNeighborsClassifier):
        _check_labels(estimator, rows)
    if isinstance(estimator, KNeighborsClassifier):
        must(
            1 <= whole(estimator.n_neighbors, "its number of neighbours") <= rows,
            "it asks for more neighbours than it has",
        )
    if isinstance(estimator, RadiusNeighborsClassifier):
        must(_looks_at_widths(estimator), "it does not look at how wide a row is; fit it with algorithm='kd_tree'")


def _check_distance(estimator: NeighborsBase) -> None:
    """Rows are looked at by one distance, and compared by the other, with parameters of which few are looked at."""
    told, used = estimator.metric, estimator.effective_metric_
    must(not any(isinstance(metric, np.ndarray) for metric in (told, used)), "its distance is none")
    must((told == "precomputed") == (used == "precomputed"), "its distance is another one than it says")
    for given in (estimator.metric_params, estimator.effective_metric_params_):
        parameters = given or {}
        must(type(parameters) is dict, "its distance has unusual parameters")
        must(not {"X_norm_squared", "Y_norm_squared"} & parameters.keys(), "it brings norms of rows along")
        for matrix in (found for name, found in parameters.items() if name in ("V", "VI")):
            must(set(np.shape(matrix)) == {features(estimator)}, "its distance is of other rows")


def _looks_at_widths(estimator: RadiusNeighborsClassifier) -> bool:
    """Tell whether it does not hand its rows to compiled code as they come, as scikit-learn 1.9 does in one case."""
    if estimator._fit_method != "brute":
        return True
    fitted = estimator._fit_X
    given = dict(estimator.metric_params or {})
    metric, _ = _adjusted_metric(metric=estimator.metric, metric_kwargs=given, p=estimator.p)
    quick = RadiusNeighborsClassMode.is_usable_for(fitted, fitted, metric)
    if scipy.sparse.issparse(fitted):  # a row may be dense
        quick = metric in RadiusNeighborsClassMode.valid_metrics()
    return not quick or not isinstance(estimator.weights, str) or estimator.weights != "uniform"


def _check_labels(estimator: Any, rows: int) -> None:
    """Votes are counted at the place that each label names."""
    labels, classes = estimator._y, estimator.classes_
    must(type(labels) is np.ndarray and labels.dtype.kind == "i" and len(labels) == rows, "it has not a label per row")
    must(estimator.outputs_2d_ is (labels.ndim == 2), "it has not as many labels per row as it says")
    columns = list(labels.T) if estimator.outputs_2d_ else [labels]
    names = listed(classes, "its classes") if estimator.outputs_2d_ else [classes]
    must(len(columns) == len(names), "it has not as many classes as labels")
    for column, found in zip(columns, names, strict=True):
        must(type(found) is np.ndarray and found.ndim == 1, "its classes are no list")
        within(column, len(found), "it has a label that is not one of its classes")


def kernel_density(estimator: KernelDensity) -> None:
    """Check the tree that its neighbours are sought in."""
    must(type(estimator.tree_) in (KDTree, BallTree), "it has no tree")


def kmeans(estimator: _BaseKMeans) -> None:
    """Check that its centres are as wide as a row that is asked about."""
    centers = array(estimator.cluster_centers_, 2, "f", "its centres")
    must(centers.shape[0] >= 1 and centers.shape[1] == features(estimator), "its centres are not as wide as it says")


def bisecting_kmeans(estimator: BisectingKMeans) -> None:
    """Check the centres of its tree, of which those of all clusters say nothing."""
    waiting, seen = [estimator._bisecting_tree], set()
    while waiting:
        node = waiting.pop()
        must(id(node) not in seen, "a cluster is within itself")
        seen.add(id(node))
        if node.left is not None:
            for child in (node.left, node.right):
                must(
                    array(child.center, 1, "f", "a centre").size == features(estimator),
                    "a centre is not as wide as it says",
                )
                waiting.append(child)


def birch(estimator: Birch) -> None:
    """Check what its centres bring along: a row is compared with them by their own norms."""
    centers = array(estimator.subcluster_centers_, 2, "f", "its centres")
    norms = array(estimator._subcluster_norms, 1, "f", "the norms of its centres")
    must(norms.size == len(centers), "its norms are not those of its centres")


def covariance(estimator: EmpiricalCovariance) -> None:
    """Check the matrix that distances are measured by: SciPy reads as many numbers of it as a row has, squared."""
    for name in ("covariance_", "precision_"):
        found = vars(estimator).get(name)
        if found is not None:
            must(array(found, 2, "f", name).shape == (features(estimator),) * 2, f"its {name} is of other rows")
