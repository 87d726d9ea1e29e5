"""Whether an ONNX model that comes from where a stranger's model was loaded may be signed. Runs in a sandbox of its own.

ONNX Runtime checks a model's types and trusts much of the rest: of a linear model, that it has a coefficient for each column,
of a tree, that the columns it asks for are there. So a graph is let in only where it is made of operators that the
trainer's converters use and that have nothing to run, to open or to loop over, and where whatever one of them indexes with has
been found to be within bounds. How wide the rows are that reach an operator is found by computing the graph in NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from contract import limits
from contract.display import visible
from contract.errors import Refused
from contract.file_names import ONNX_MODEL
from contract.schema import MOST_COLUMNS
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

MOST_ONNX_BYTES = 128 * limits.MB
MOST_NODES = 5_000
TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
ML = "ai.onnx.ml"
# What the width of a result follows from does not depend on the rows, but for the operands in CONSTANT.
PLAIN = {
    *(
        "Abs",
        "Add",
        "ArgMax",
        "Cast",
        "Concat",
        "Div",
        "Equal",
        "Exp",
        "Gather",
        "Identity",
        "Less",
        "MatMul",
        "Max",
        "Min",
    ),
    *(
        "Mul",
        "Neg",
        "Not",
        "Pow",
        "Reciprocal",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceSum",
        "Relu",
        "Reshape",
    ),
    *("Sigmoid", "Softmax", "Sqrt", "Sub", "Sum", "Tanh", "Where"),
}
LEARNT = {
    *("ArrayFeatureExtractor", "Imputer", "LabelEncoder", "LinearClassifier", "LinearRegressor", "Normalizer"),
    *("OneHotEncoder", "Scaler", *TREES),
}
OPERATORS = {"": PLAIN, "ai.onnx": PLAIN, ML: LEARNT}
# Operators whose second operand says what shape the result has.
CONSTANT = {"Reshape", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceSum"}
VALUES = {
    *(AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING),
    *(AttributeProto.FLOATS, AttributeProto.INTS, AttributeProto.STRINGS),
}
# The attributes of an ensemble of trees: of each node, and of each value that a leaf has.
NODE_PARTS = ("nodeids", "treeids", "modes", "featureids", "values", "truenodeids", "falsenodeids")
LEAF_PARTS = ("ids", "nodeids", "treeids", "weights")
LEAF = b"LEAF"
MODES = {LEAF, *(f"BRANCH_{name}".encode() for name in ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ"))}
LABELS = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")
# Numbers of rows that a graph is computed for. No operator makes less of more, so what is as wide for both always is.
COUNTS = (1, 3)


@dataclass(frozen=True)
class _Graph:
    """A graph whose operators may be computed, and what its values are."""

    model: ModelProto
    shapes: dict[str, list[tuple[int, ...]]]
    """value → its shape for each of COUNTS"""

    @cached_property
    def constants(self) -> dict[str, np.ndarray]:
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}

    def width(self, node: NodeProto) -> int:
        """Return how many columns the rows have that a node takes."""
        few, more = self.shapes[node.input[0]]
        _demand(len(few) == len(more) == 2 and few[1] == more[1], f"its {node.op_type} takes something else than rows")
        return few[1]


def check(folder: Path) -> None:
    """Raise Refused unless a version's ONNX model is one that may be signed."""
    content = (folder / ONNX_MODEL).read_bytes()
    _demand(len(content) <= MOST_ONNX_BYTES, f"it has {len(content)} bytes; expected at most {MOST_ONNX_BYTES}")
    try:
        model = onnx.load_from_string(content)
        _check_model(model)
        # Trees first: only then is there an end to computing them.
        for node in model.graph.node:
            if node.op_type in TREES:
                _check_trees(node)
        graph = _Graph(model, _shapes(model))
        for node in model.graph.node:
            CHECKS.get(node.op_type, _nothing)(node, graph)
    except Refused:
        raise
    except Exception as error:  # parts that do not fit together can fail in any way
        raise Refused(f"it cannot be looked through: {type(error).__name__}: {visible(str(error), 200)}") from error


def _demand(holds: object, what: str) -> None:
    if not holds:
        raise Refused(what)


# --- what it is made of --------------------------------------------------------------------------------------------


def _check_model(model: ModelProto) -> None:
    size = model.ByteSize()
    model.DiscardUnknownFields()
    _demand(model.ByteSize() == size, "it has fields that are not known")
    _demand(not model.functions and not model.training_info, "it has functions or training steps of its own")
    graph = model.graph
    _demand(not graph.sparse_initializer and not graph.quantization_annotation, "it has sparse or quantized tensors")
    _demand(len(graph.node) <= MOST_NODES, f"it has {len(graph.node)} nodes; expected at most {MOST_NODES}")
    constants = [tensor.name for tensor in graph.initializer]
    names = (
        constants
        + [value.name for value in graph.input]
        + [name for node in graph.node for name in node.output if name]
    )
    _demand(len(set(names)) == len(names), "two of its values have one name")
    for tensor in graph.initializer:
        _check_tensor(tensor)
    for node in graph.node:
        _check_operator(node, set(constants))


def _check_tensor(tensor: TensorProto) -> None:
    is_within = tensor.data_location == TensorProto.DEFAULT and not tensor.external_data
    _demand(is_within, "it has a tensor in another file")
    # Told before it is made: a few bytes can claim any shape.
    count = prod(tensor.dims)
    _demand(
        min(tensor.dims, default=1) > 0 and count <= max(1, tensor.ByteSize()),
        "it has a tensor of another size than it says",
    )
    _demand(numpy_helper.to_array(tensor).size == count, "it has a tensor of another size than it says")


def _check_operator(node: NodeProto, constants: set[str]) -> None:
    _demand(
        node.op_type in OPERATORS.get(node.domain, ()),
        f"it has the operator {visible(node.op_type, 50)}, which is not taken of a version that was logged by hand",
    )
    for attribute in node.attribute:
        is_value = attribute.type in VALUES and not attribute.ref_attr_name
        _demand(is_value, f"its {node.op_type} has an attribute that is no plain value")
    if node.op_type in CONSTANT and len(node.input) > 1:
        _demand(node.input[1] in constants, f"its {node.op_type} makes a shape that it computes")


# --- how wide its values are ---------------------------------------------------------------------------------------


def _shapes(model: ModelProto) -> dict[str, list[tuple[int, ...]]]:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    with np.errstate(all="ignore"):
        found: list[Any] = [evaluator.run(None, _rows(model, count), intermediate=True) for count in COUNTS]
    return {name: [np.shape(values[name]) for values in found] for name in found[0]}


def _rows(model: ModelProto, count: int) -> dict[str, np.ndarray]:
    """Return so many rows as the model takes them: zeros, or empty texts."""
    rows = {}
    for value in model.graph.input:
        found = value.type.tensor_type
        dims = [one.dim_value for one in found.shape.dim]
        _demand(len(dims) == 2 and 0 < dims[1] <= MOST_COLUMNS, "it takes something else than rows")
        rows[value.name] = np.zeros((count, dims[1]), dtype=helper.tensor_dtype_to_np_dtype(found.elem_type))
    return rows


# --- what its operators index with ---------------------------------------------------------------------------------


def _nothing(_node: NodeProto, _graph: _Graph) -> None:
    """Demand nothing: ONNX Runtime itself holds such an operator to its operands."""


def _check_reshape(node: NodeProto, graph: _Graph) -> None:
    first, *rest = graph.constants[node.input[1]].tolist()
    _demand(first == -1 and all(size > 0 for size in rest), "its Reshape makes columns of rows")


def _check_linear(node: NodeProto, graph: _Graph) -> None:
    found = _attributes(node)
    targets = found["targets"] if node.op_type == "LinearRegressor" else len(found["intercepts"])
    is_whole = targets > 0 and len(found["coefficients"]) == targets * graph.width(node)
    _demand(is_whole, f"its {node.op_type} has not one coefficient for each column")
    if node.op_type == "LinearClassifier":
        _demand(
            (targets, labels := _labels(found)) == (1, 2) or targets == labels,
            "its LinearClassifier has not one label for each class",
        )


def _check_columns(node: NodeProto, graph: _Graph) -> None:
    asked = np.array(_attributes(node)["nodes_featureids"])
    is_there = asked.min() >= 0 and asked.max() < graph.width(node)
    _demand(is_there, "its trees ask for a column that is not there")


def _check_trees(node: NodeProto) -> None:
    found = _attributes(node)
    is_classifier = node.op_type == "TreeEnsembleClassifier"
    outputs, prefix = (_labels(found), "class") if is_classifier else (found["n_targets"], "target")
    nodes = {name: np.array(found[f"nodes_{name}"]) for name in NODE_PARTS}
    leaves = {name: np.array(found[f"{prefix}_{name}"]) for name in LEAF_PARTS}
    sizes = _tree_sizes(nodes)
    _demand(
        outputs > 0 and len(found.get("base_values", ())) in (0, 1, outputs), "its trees have another number of classes"
    )
    more = (len(found.get(f"nodes_{name}", ())) for name in ("hitrates", "missing_value_tracks_true"))
    _demand({*more} <= {0, len(nodes["nodeids"])}, "its trees have parts of another length")
    _check_branches(nodes, sizes)
    _check_leaves(leaves, nodes, sizes, outputs)


def _tree_sizes(nodes: dict[str, np.ndarray]) -> np.ndarray:
    """Return how many nodes each tree has, once it is known that they are numbered one after the other."""
    count = len(nodes["nodeids"])
    _demand(count and all(len(part) == count for part in nodes.values()), "its trees have parts of another length")
    trees, starts, sizes = np.unique(nodes["treeids"], return_index=True, return_counts=True)
    is_counted = (trees == np.arange(len(trees))).all() and (nodes["treeids"] == np.repeat(trees, sizes)).all()
    _demand(
        is_counted and (nodes["nodeids"] == np.arange(count) - np.repeat(starts, sizes)).all(),
        "its trees are not numbered",
    )
    return sizes


def _check_branches(nodes: dict[str, np.ndarray], sizes: np.ndarray) -> None:
    _demand({*nodes["modes"].tolist()} <= MODES, "its trees compare in another way")
    branches = nodes["modes"] != LEAF
    last = np.repeat(sizes, sizes)
    for name in ("truenodeids", "falsenodeids"):
        children, own = nodes[name][branches], nodes["nodeids"][branches]
        # After their parent, so that there is an end to it.
        _demand(((own < children) & (children < last[branches])).all(), "its trees have branches that lead nowhere")


def _check_leaves(leaves: dict[str, np.ndarray], nodes: dict[str, np.ndarray], sizes: np.ndarray, outputs: int) -> None:
    count = len(leaves["ids"])
    _demand(count and all(len(part) == count for part in leaves.values()), "its leaves have parts of another length")
    _demand(leaves["ids"].min() >= 0 and leaves["ids"].max() < outputs, "its leaves are of a class that is not there")
    trees, places = leaves["treeids"], leaves["nodeids"]
    _demand(trees.min() >= 0 and trees.max() < len(sizes), "its leaves are of a tree that is not there")
    is_there = (places >= 0) & (places < sizes[trees])
    _demand(is_there.all(), "its leaves are nodes that are not there")
    found = (np.cumsum(sizes) - sizes)[trees] + places
    _demand(
        (np.unique(found) == np.flatnonzero(nodes["modes"] == LEAF)).all(), "its leaves are not those that have a value"
    )


def _attributes(node: NodeProto) -> dict[str, Any]:
    """Return an operator's attributes by their names, which have to be different."""
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    _demand(len(found) == len(node.attribute), f"its {node.op_type} has an attribute twice")
    return found


def _labels(found: dict[str, Any]) -> int:
    """Return how many labels a classifier has: numbers or texts, and not both."""
    counts = [len(found.get(name, ())) for name in LABELS]
    _demand(sum(map(bool, counts)) == 1, "its classes have no labels")
    return max(counts)


Check = Callable[[NodeProto, _Graph], None]
CHECKS: dict[str, Check] = {
    "LinearClassifier": _check_linear,
    "LinearRegressor": _check_linear,
    "Reshape": _check_reshape,
    **dict.fromkeys(TREES, _check_columns),
}
