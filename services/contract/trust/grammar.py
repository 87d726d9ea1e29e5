"""The schema of a skops file: which objects are to be built, held against what skops itself writes, before any is built.

skops' own audit asks for the type of each node. It does not ask whether the type belongs to that kind of node, how often
nodes point at each other, which names attributes have, or whether a tree is built from arrays of the right shape.
"""

import json
from collections.abc import Callable
from typing import Any
from zipfile import ZipFile

from contract.errors import Refused
from contract.trust.archive import MOST_SCHEMA, SCHEMA, Arrays, Header
from contract.trust.trusted_types import SIGNED_TYPES

MOST_LEVELS = 150
# Braces and brackets, commas: what the parsed schema takes, known before it is parsed.
MOST_OPENED = 2_000_000
MOST_SEPARATED = 10_000_000
MOST_FEATURES = 10_000_000
TREE = "sklearn.tree._tree.Tree"
# The kind of node that builds a trusted type. skops takes a type that it is told to trust in every kind of node: it would call
# a class with whatever arguments the file has, or make a tree without the checks that belong to one.
BUILT_BY = dict.fromkeys(SIGNED_TYPES, "ObjectNode") | {TREE: "TreeNode", "numpy.dtype": "DTypeNode"}
# Generators whose state has no position in a buffer that a stranger could move out of it.
GENERATORS = frozenset({"PCG64", "PCG64DXSM", "SFC64"})

# Compiled classes that are given their state as a tuple. All others are given their attributes.
WITHOUT_ATTRIBUTES = frozenset(
    {f"sklearn.{name}" for name in ("neighbors._kd_tree", "neighbors._ball_tree", "metrics._dist_metrics")}
)

Node = dict[str, Any]


def check(content: ZipFile, arrays: Arrays) -> None:
    """Raise Refused where a skops file's schema is not as skops writes it, or names what may not be built."""
    if SCHEMA not in content.NameToInfo or content.getinfo(SCHEMA).file_size > MOST_SCHEMA:
        raise Refused(f"its model has no {SCHEMA}, or one of more than {MOST_SCHEMA} bytes")
    raw = content.read(SCHEMA)
    if raw.count(b"{") + raw.count(b"[") > MOST_OPENED or raw.count(b",") > MOST_SEPARATED:
        raise Refused(f"its model has too many objects: {raw.count(b'{')}; expected at most {MOST_OPENED}")
    _Grammar(arrays).visit(json.loads(raw), 0)


class _Grammar:
    """One walk over a schema, in the order in which skops reads it.

    A node with the number of an earlier one is that one to skops, whatever else it says. So is it here (`real`).
    """

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self._first: dict[int, Node] = {}
        self._weights: dict[int, int] = {}
        self._owners: dict[str, int] = {}

    def visit(self, node: Any, level: int) -> int:
        """Return how many nodes there are at and below one, with those that are referred to; raise Refused."""
        if not isinstance(node, dict) or level > MOST_LEVELS:
            raise Refused(f"its model is nested deeper than {MOST_LEVELS} levels, or has a node that is none")
        number = node.get("__id__")
        if number in self._first:
            if number not in self._weights:
                raise Refused(f"its model has a {node.get('__class__')!r:.60} within itself")
            return self._weights[number]
        if type(number) is not int or number <= 0:
            raise Refused(f"its model has a node of the number {number!r:.60}")
        self._first[number] = node
        self._check_kind(node)
        weight = 1 + sum(self.visit(child, level + 1) for child in CHILDREN[node["__loader__"]](node))
        if weight > MOST_OPENED:
            raise Refused(f"its model refers to its own parts more than {MOST_OPENED} times")
        if (special := CHECKS.get(node["__loader__"])) is not None:
            special(self, node)
        self._weights[number] = weight
        return weight

    def _check_kind(self, node: Node) -> None:
        loader, name = node.get("__loader__"), f"{node.get('__module__')}.{node.get('__class__')}"
        if not isinstance(loader, str) or loader not in CHILDREN:
            raise Refused(f"its model has a node of the kind {loader!r:.60}, which is not read here")
        if BUILT_BY.get(name, loader) != loader:
            raise Refused(f"its model has a {loader} of the type {name}, which does not belong to it")

    def real(self, node: Node) -> Node:
        return self._first[node["__id__"]]

    def mapping(self, node: Node) -> dict[str, Node]:
        """Return what is below a node that skops makes a dict of, by the very names that the dict has; raise Refused.

        Other kinds of node have mappings too, of which skops reads what it knows, and keys of other types become other keys.
        """
        found = self.real(node)
        if found["__loader__"] != "DictNode":
            raise Refused(f"its model has a {found['__loader__']} where a dict belongs")
        kinds = [self.real(kind) for kind in self.sequence(found["key_types"], "ListNode")]
        names = {f"{kind['__loader__']} {kind['__module__']}.{kind['__class__']}" for kind in kinds}
        if len(kinds) < len(found["content"]) or names - {"TypeNode builtins.str"}:
            raise Refused("its model has a dict of other names than its file says")
        content: dict[str, Node] = found["content"]
        return content

    def sequence(self, node: Node, loader: str = "TupleNode") -> list[Node]:
        """Return what is in a node that skops makes a tuple of, or what else `loader` makes; raise Refused."""
        found = self.real(node)
        if found["__loader__"] != loader:
            raise Refused(f"its model has a {found['__loader__']} where a {loader} belongs")
        return list(found["content"])

    def plain(self, node: Node) -> Any:
        """Return the number or text that a node is; raise Refused."""
        found = self.real(node)
        if found["__loader__"] != "JsonNode":
            raise Refused(f"its model has a {found['__loader__']} where a number or a text belongs")
        return json.loads(found["content"])

    def number(self, node: Node) -> int:
        """Return the whole number that a node is; raise Refused."""
        value = self.plain(node)
        if type(value) is not int:
            raise Refused(f"its model has {value!r:.60} where a whole number belongs")
        return value

    def file(self, node: Node) -> str:
        """Return the part that a node is read from. Two nodes of one part would read it twice."""
        name, owner = node.get("file"), node["__id__"]
        if not isinstance(name, str) or self._owners.setdefault(name, owner) != owner:
            raise Refused(f"its model's part {name!r:.60} is read by two nodes, or by none")
        return name

    def array(self, node: Node) -> None:
        """Check an array, or a number that is one item of it. A void or an object of some length is neither."""
        kind, name = node["type"], node["__class__"]
        if kind == "numpy":
            dtype, shape = self._arrays.header(self.file(node))
            if name != "ndarray" and (shape or name not in (dtype.type.__name__, dtype.name)):
                raise Refused(f"its model has a {name!r:.60} made of {dtype!s:.60} of shape {shape!s:.60}")
        elif kind != "json" or name != "ndarray":
            raise Refused(f"its model has an array of the kind {kind!r:.60}")

    def shape(self, node: Node) -> Header:
        found = self.real(node)
        if found["__loader__"] != "NdArrayNode" or found["__class__"] != "ndarray" or found["type"] != "numpy":
            raise Refused("its model has a tree whose nodes are no arrays")
        return self._arrays.header(found["file"])

    def tree(self, node: Node) -> None:
        """Hold the arguments of scikit-learn's Tree against each other: it copies as many items as it is told."""
        features, classes, outputs = self.sequence(node["__reduce__"]["args"])
        state = self.mapping(node["content"])
        (kind, width), (nodes, count), (values, shape) = map(self.shape, (classes, state["nodes"], state["values"]))
        told, depth = self.number(state["node_count"]), self.number(state["max_depth"])
        if (
            kind.kind != "i"
            or width != (self.number(outputs),)
            or not 1 <= self.number(features) <= MOST_FEATURES
            or nodes.names is None
            or values.kind != "f"
            or count != (told,)
            or shape[:2] != (told, *width)
            or not 0 <= depth < told
        ):
            raise Refused(f"its model has a tree of nodes {count} and values {shape} that says it has {told} nodes")

    def object(self, node: Node) -> None:
        """Check the names of attributes: __array_interface__ would make NumPy read at an address that the file has."""
        if node.get("content") is None:
            return
        state = self.real(node["content"])
        if state["__loader__"] == "TupleNode" and node["__module__"] in WITHOUT_ATTRIBUTES:
            return
        if state["__loader__"] == "JsonNode" and state["content"] == "null":
            return
        if state["__loader__"] != "DictNode" or any(name.startswith("__") for name in state["content"]):
            raise Refused(
                f"its model has a {node['__class__']!r:.60} whose attributes are none, or have names that Python calls itself"
            )

    def slice(self, node: Node) -> None:
        if any(type(node["content"][name]) not in (int, type(None)) for name in ("start", "stop", "step")):
            raise Refused("its model has a slice of something that is no whole number")

    def random_state(self, node: Node) -> None:
        position = self.number(self.mapping(self.mapping(node["content"])["state"])["pos"])
        if position not in range(625):
            raise Refused(f"its model has a random state at {position} of a buffer of 624")

    def generator(self, node: Node) -> None:
        name = self.plain(self.mapping(node["content"]["bit_generator"])["bit_generator"])
        pool = self.number(self.mapping(node["content"]["seed_seq"])["pool_size"])
        if name not in GENERATORS or pool not in range(4, 65):
            raise Refused(f"its model has a random generator {name!r:.60} with a pool of {pool}")

    def sparse(self, node: Node) -> None:
        self._arrays.check_sparse(self.file(node))

    def bytes(self, node: Node) -> None:
        self._arrays.check_bytes(self.file(node))


def _content(node: Node) -> list[Node]:
    return list(node["content"])


def _none(node: Node) -> list[Node]:
    return []


def _mapping(node: Node) -> list[Node]:
    return [node["key_types"], *node["content"].values()]


def _built(node: Node) -> list[Node]:
    return [node["content"], node["__reduce__"]["args"]]


def _array(node: Node) -> list[Node]:
    return [] if node["type"] == "numpy" else [*node["content"], node["shape"]]


# Kind of node → the nodes below it, in the order in which skops reads them. All that skops 0.16 writes, and the same of its older protocols.
CHILDREN: dict[str, Callable[[Node], list[Node]]] = {
    "JsonNode": _none,
    "TypeNode": _none,
    "FunctionNode": _none,
    "SliceNode": _none,
    "BytesNode": _none,
    "BytearrayNode": _none,
    "SparseMatrixNode": _none,
    "NdArrayNode": _array,
    "MaskedArrayNode": lambda node: [node["content"][name] for name in ("data", "mask")],
    "DTypeNode": lambda node: [node["content"]],
    "DictNode": _mapping,
    "DefaultDictNode": lambda node: [node["content"][name] for name in ("main", "default_factory")],
    "ListNode": _content,
    "SetNode": _content,
    "TupleNode": _content,
    "ObjectNode": lambda node: [node["content"]] if node.get("content") is not None else [],
    "TreeNode": _built,
    "LossNode": _built,
    "RandomStateNode": lambda node: [node["content"]],
    "RandomGeneratorNode": lambda node: [node["content"][name] for name in ("bit_generator", "seed_seq")],
    "ConstructorFromReduceNode": lambda node: [node["content"]],
    "PartialNode": lambda node: [node["content"][name] for name in ("func", "args", "kwds", "namespace")],
    "MethodNode": lambda node: [node["content"]["obj"]],
    "OperatorFuncNode": lambda node: [node["attrs"]],
}
CHECKS: dict[str, Callable[[_Grammar, Node], None]] = {
    "NdArrayNode": _Grammar.array,
    "TreeNode": _Grammar.tree,
    "ObjectNode": _Grammar.object,
    "SliceNode": _Grammar.slice,
    "RandomStateNode": _Grammar.random_state,
    "RandomGeneratorNode": _Grammar.generator,
    "SparseMatrixNode": _Grammar.sparse,
    "BytesNode": _Grammar.bytes,
    "BytearrayNode": _Grammar.bytes,
}
