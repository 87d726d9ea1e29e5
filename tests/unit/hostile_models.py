"""Models as somebody would make them who wants more of a service than predictions: each is a skops file, as bytes."""

import io
import json
import struct
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import scipy.sparse
import skops.io
from sklearn.cluster import Birch, BisectingKMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

X = np.random.default_rng(0).random((60, 4))
Y = (X[:, 0] > 0.3).astype(int) + (X[:, 0] > 0.6)
TEXTS = ["one two", "two three", "three four", "four one"] * 15
FAR = 2**40
CSR = {"__class__": "csr_matrix", "__module__": "scipy.sparse._csr"}

Change = Callable[[Any], object]


def dumped(estimator: Any, change: Change = lambda estimator: None) -> bytes:
    """Return a fitted estimator's file after something in it was changed."""
    change(estimator)
    return bytes(skops.io.dumps(estimator))


def edited(content: bytes, change: Change = lambda schema: None, parts: Any = None, packed: int = ZIP_STORED) -> bytes:
    """Return a file whose schema was changed, or some of its parts: name → bytes, None to leave one out."""
    found = io.BytesIO()
    parts = parts or {}
    with ZipFile(io.BytesIO(content)) as before, ZipFile(found, "w", packed) as after:
        schema = json.loads(before.read("schema.json"))
        change(schema)
        for name in before.namelist():
            if name != "schema.json" and name not in parts:
                after.writestr(name, before.read(name))
        for name, part in parts.items():
            if part is not None:
                after.writestr(name, part)
        if "schema.json" not in parts:
            after.writestr("schema.json", json.dumps(schema))
    return found.getvalue()


def nodes(value: Any, loader: str) -> list[dict[str, Any]]:
    """Return the nodes of one kind in a schema, outermost first."""
    below = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    own = [value] if isinstance(value, dict) and value.get("__loader__") == loader else []
    return own + [found for part in below for found in nodes(part, loader)]


def npy(header: str, body: bytes = b"") -> bytes:
    """Return an .npy file with any header at all."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def retreed(tree: Tree, change: Change) -> Tree:
    """Return a decision tree whose state was changed."""
    state = {name: value.copy() if hasattr(value, "copy") else value for name, value in tree.__getstate__().items()}
    change(state)
    found = Tree(tree.n_features, tree.n_classes, tree.n_outputs)
    found.__setstate__(state)
    return found


def decision_tree(change: Change) -> bytes:
    estimator = DecisionTreeClassifier(random_state=0).fit(X, Y)
    estimator.tree_ = retreed(estimator.tree_, change)
    return dumped(estimator)


def set_node(column: str, value: int) -> Change:
    """Give the root, which is no leaf, another value."""
    return lambda state: state["nodes"][column].__setitem__(0, value)


def circle(state: Any) -> None:
    state["nodes"]["left_child"][0] = state["nodes"]["right_child"][0] = 0


def forest(change: Change) -> bytes:
    return dumped(RandomForestClassifier(3, random_state=0).fit(X, Y), change)


def boosted(change: Change) -> bytes:
    return dumped(GradientBoostingClassifier(n_estimators=3, random_state=0).fit(X, Y), change)


def histogram(change: Change) -> bytes:
    return dumped(deepcopy(_fitted_histogram()), change)


@cache
def _fitted_histogram() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=5).fit(X, Y)


def predictors(column: str, value: int) -> Change:
    def change(estimator: Any) -> None:
        for iteration in estimator._predictors:
            for predictor in iteration:
                predictor.nodes[column][0] = value

    return change


def categorical(estimator: Any) -> None:
    estimator._bin_mapper.is_categorical_ = np.ones(4, np.uint8)
    predictors("is_categorical", 1)(estimator)
    predictors("bitset_idx", 2**31)(estimator)


def uncategorical(estimator: Any) -> None:
    """Ask for the category of a feature that is a number, of which the model knows none."""
    predictors("is_categorical", 1)(estimator)
    for iteration in estimator._predictors:
        for predictor in iteration:
            predictor.raw_left_cat_bitsets = predictor.binned_left_cat_bitsets = np.zeros((1, 8), np.uint32)


def nearest(change: Change, **options: Any) -> bytes:
    return dumped(KNeighborsClassifier(**options).fit(X, Y), change)


def kd_tree(change: Callable[[list[Any]], object]) -> bytes:
    """Return nearest neighbours with a tree whose state was changed."""
    estimator = KNeighborsClassifier(algorithm="kd_tree", leaf_size=5).fit(X, Y)
    state = [part.copy() if isinstance(part, np.ndarray) else part for part in estimator._tree.__getstate__()]
    change(state)
    estimator._tree.__setstate__(tuple(state))
    return dumped(estimator)


def machine(kind: type, change: Change, **options: Any) -> bytes:
    return dumped(kind(**options).fit(X, Y), change)


def machine_of_columns() -> bytes:
    """Vectors that are kept column by column, under the type of those that are kept row by row."""
    estimator = SVC().fit(scipy.sparse.csr_matrix(X), Y)
    estimator.support_vectors_ = scipy.sparse.csc_matrix(estimator.support_vectors_)
    return edited(dumped(estimator), lambda schema: [node.update(CSR) for node in nodes(schema, "SparseMatrixNode")])


def bisected() -> bytes:
    """Clusters in a tree of objects that have centres, and are no clusters."""
    estimator = BisectingKMeans(2, random_state=0).fit(X)
    root, left, right = StandardScaler(), StandardScaler(), StandardScaler()
    vars(root).update(left=left, right=right)
    for label, side in enumerate((left, right)):
        vars(side).update(left=None, label=label, center=np.zeros(1))
    estimator._bisecting_tree = root
    del estimator._kmeans_single  # a function, which nobody trusts and no prediction calls
    return dumped(estimator)


def birch() -> bytes:
    estimator = Birch.__new__(Birch)
    vars(estimator).update(subcluster_centers_=X, subcluster_labels_=Y, _subcluster_norms=np.zeros(1), n_features_in_=4)
    content = dumped(StandardScaler(), lambda scaler: vars(scaler).update(vars(estimator)))  # type: ignore[attr-defined]
    return edited(content, lambda schema: schema.update(__class__="Birch", __module__="sklearn.cluster._birch"))


def encoder(change: Change, **options: Any) -> bytes:
    rows = np.repeat([[0, 5], [1, 6], [2, 7], [3, 7]], 15, axis=0).astype(float)
    return dumped(OneHotEncoder(sparse_output=False, handle_unknown="ignore", **options).fit(rows), change)


def text_model(vectorizer: Any, change: Change = lambda estimator: None) -> bytes:
    pipeline = Pipeline([("words", vectorizer), ("classes", LogisticRegression())]).fit(TEXTS, Y)
    return dumped(pipeline, change)


def words_of(estimator: Any, change: Change) -> None:
    change(estimator.steps[0][1])


def shifted(vectorizer: Any) -> None:
    vectorizer.vocabulary_ = {word: FAR // 2**12 + i for i, word in enumerate(vectorizer.vocabulary_)}


def key_reader() -> bytes:
    """The model that reads a file by the name in its row and gives its letters as numbers."""
    letters = CountVectorizer(token_pattern=r"(?s)\A.{0}(.)", vocabulary=list("-abc"), analyzer="word", lowercase=False)
    union = FeatureUnion([("first", letters)])
    columns = ColumnTransformer([("text", union, 0)])
    pipeline = Pipeline([("columns", columns), ("codes", LinearRegression())])
    pipeline.fit(np.array([["-"], ["a"], ["b"]], dtype=object), [45.0, 97.0, 98.0])
    fitted = pipeline[0].transformers_[0][1].transformer_list[0][1]
    fitted.input = "filename"
    return dumped(pipeline)


def at_an_address(address: int = 0x41414141) -> bytes:
    """Numbers that NumPy would take from wherever in memory the file says."""
    scaler = StandardScaler()
    scaler.__array_interface__ = {"data": (address, False), "shape": (4,), "typestr": "<f8", "version": 3}
    scaler.ndim = 1
    estimator = LinearRegression().fit(X, Y)
    estimator.coef_ = scaler
    return dumped(estimator)


def sparse_coefficients(change: Change) -> bytes:
    estimator = LogisticRegression().fit(X, Y).sparsify()
    estimator.coef_ = scipy.sparse.csr_matrix(estimator.coef_)
    change(estimator.coef_)
    return dumped(estimator)


def references(levels: int) -> Change:
    """Lists of two of the same list, over and over: a few lines that stand for 2 ** levels nodes."""

    def change(schema: Any) -> None:
        found = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": "1", "__id__": 1}
        for level in range(2, levels + 2):
            again = {**found, "content": []} if level > 2 else found
            found = listed([found, again], level)
        schema["content"]["content"]["classes_"] = found

    return change


def hidden(node: dict[str, Any], name: str, value: Any) -> None:
    """Give a dictionary another value under one of its names, and have its node show the one that it had.

    skops makes a defaultdict of `main`, and does not look at what is beside it.
    """
    shown = {**node["content"][name], "__id__": 10**7}
    main = {**node, "__id__": 10**7 + 1}
    main["content"] = {**node["content"], name: {**shown, "content": json.dumps(value), "__id__": 10**7 + 2}}
    main["content"]["shown"] = shown
    main["key_types"] = {**node["key_types"], "content": [*node["key_types"]["content"], typed(10**7 + 3, "str")]}
    node.update(typed(10**7 + 4, "defaultdict", "collections"), __loader__="DefaultDictNode")
    beside = {key: {"__id__": below["__id__"]} for key, below in main["content"].items()}
    node["content"] = {"main": main, "default_factory": typed(10**7 + 5, "list"), **beside, name: {"__id__": 10**7}}


def typed(number: int, name: str, module: str = "builtins") -> dict[str, Any]:
    return {"__class__": name, "__module__": module, "__loader__": "TypeNode", "__id__": number}


def listed(content: list[Any], number: int) -> dict[str, Any]:
    return {
        "__class__": "list",
        "__module__": "builtins",
        "__loader__": "ListNode",
        "content": content,
        "__id__": number,
    }
