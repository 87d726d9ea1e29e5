"""An ONNX model that comes from where a stranger's model was loaded is signed only where nothing in it leads out of bounds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from contract.errors import Refused
from contract.file_names import ONNX_MODEL
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from trainer.adoption import onnx_graph
from trainer.artifact import onnx_export
from trainer.data.table import Column, Kind, Task

WIDE: dict[str, list[int | None]] = {"rows": [None, 3], "asked": [1], "found": [None, 1]}
NUMBERS = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["a", "b", "c"])
LABELS = (NUMBERS["a"] > 0).astype(int) + (NUMBERS["b"] > 0.5)
MIXED = NUMBERS.assign(city=pd.Series(["here", "there", "nowhere"] * 20, dtype="str"))


def exported(estimator: Any, features: pd.DataFrame = NUMBERS, target: Any = LABELS) -> ModelProto:
    kinds = {name: Kind.TEXT if dtype == "str" else Kind.NUMBER for name, dtype in features.dtypes.items()}
    columns = [Column(str(name), kind, False) for name, kind in kinds.items()]
    task = Task.REGRESSION if target.dtype == float else Task.CLASSIFICATION
    made = onnx_export.make(estimator.fit(features, target), columns, features, task)
    assert made.content is not None, made.record
    return onnx.load_from_string(made.content)


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """Models of which each has other parts that something is indexed with."""
    found = {
        "trees": exported(RandomForestClassifier(3, random_state=0)),
        "linear": exported(make_pipeline(Normalizer(), LogisticRegression())),
        "plain": exported(LogisticRegression()),
    }
    return {name: model.SerializeToString() for name, model in found.items()}


def check(model: ModelProto | bytes, folder: Path) -> None:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / ONNX_MODEL).write_bytes(content)
    onnx_graph.check(folder)


HONEST: dict[str, Callable[[], ModelProto]] = {
    "boosting": lambda: exported(GradientBoostingClassifier(n_estimators=3)),
    "a forest of values": lambda: exported(RandomForestRegressor(3), target=NUMBERS["a"] * 2),
    "a line": lambda: exported(make_pipeline(StandardScaler(), Ridge()), target=NUMBERS["a"] * 2),
    "a network": lambda: exported(MLPClassifier((4,), max_iter=30, random_state=0)),
    "bayes": lambda: exported(GaussianNB()),
    "calibrated": lambda: exported(CalibratedClassifierCV(LogisticRegression(), cv=2)),
    "texts and numbers": lambda: exported(
        make_pipeline(
            ColumnTransformer(
                [
                    ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b", "c"]),
                    ("t", OneHotEncoder(handle_unknown="ignore"), ["city"]),
                ]
            ),
            LogisticRegression(),
        ),
        MIXED,
    ),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("make", HONEST.values(), ids=HONEST)
def test_what_the_converters_make_of_usual_models_is_let_in(make: Callable[[], ModelProto], tmp_path: Path) -> None:
    model = make()
    check(model, tmp_path)
    model.graph.node[-1].domain = "somebody's own"
    with pytest.raises(Refused, match=f"it has the operator {model.graph.node[-1].op_type}"):
        check(model, tmp_path)


@pytest.mark.parametrize("name", ["trees", "linear", "plain"])
def test_the_models_that_are_changed_below_are_let_in_as_they_are(
    made: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    check(made[name], tmp_path)
    narrower = onnx.load_from_string(made[name])
    narrower.graph.input[0].type.tensor_type.shape.dim[1].dim_value -= 1
    with pytest.raises(Refused):
        check(narrower, tmp_path)


# --- what is not let in ---------------------------------------------------------------------------------------------


def node(model: ModelProto, operator: str) -> NodeProto:
    return next(one for one in model.graph.node if one.op_type == operator)


def attribute(model: ModelProto, name: str) -> AttributeProto:
    return next(one for found in model.graph.node for one in found.attribute if one.name == name)


def set_int(name: str, place: int, value: int) -> Callable[[ModelProto], object]:
    def change(model: ModelProto) -> None:
        attribute(model, name).ints[place] = value

    return change


def drop(name: str) -> Callable[[ModelProto], object]:
    def change(model: ModelProto) -> None:
        found = attribute(model, name)
        for values in (found.ints, found.floats, found.strings):
            del values[-1:]

    return change


TREES = {
    "a column that is not there": set_int("nodes_featureids", 0, 3),
    "a column before the first": set_int("nodes_featureids", 0, -1),
    "a branch to itself": set_int("nodes_truenodeids", 0, 0),
    "a branch beyond its tree": set_int("nodes_falsenodeids", 0, 10_000),
    "a node of another number": set_int("nodes_nodeids", 1, 7),
    "a tree of another number": set_int("nodes_treeids", 0, 1),
    "a class that is not there": set_int("class_ids", 0, 3),
    "a class before the first": set_int("class_ids", 0, -1),
    "a leaf that is not there": set_int("class_nodeids", 0, 10_000),
    "a leaf that is a branch": set_int("class_nodeids", 0, 0),
    "a leaf of another tree": set_int("class_treeids", 0, 9),
    **{
        f"too short: {name}": drop(name)
        for name in (
            *("nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids", "nodes_hitrates"),
            *("class_weights", "class_ids", "classlabels_int64s", "nodes_missing_value_tracks_true"),
        )
    },
}
LINEAR = {
    "a coefficient less": drop("coefficients"),
    "a class less": drop("intercepts"),
    "a label less": drop("classlabels_ints"),
}


def external(model: ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/run/secrets/signing-key.pem")


def a_branch_with_a_graph(model: ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])])
    model.graph.node.append(helper.make_node("If", ["yes"], ["chosen"], then_branch=inner, else_branch=inner))


def a_graph_in_an_attribute(model: ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("more", inner))


def extracting_before_the_first(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([-5], dtype=np.int64), "places"))
    node(model, "ArrayFeatureExtractor").input[1] = "places"


def rows_in_a_row(model: ModelProto) -> None:
    (shape,) = (one for one in model.graph.initializer if one.name == node(model, "Reshape").input[1])
    shape.CopyFrom(numpy_helper.from_array(np.array([1, -1], dtype=np.int64), shape.name))


def a_tensor_that_claims_more(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def an_operator_of(domain: str, operator: str) -> Callable[[ModelProto], object]:
    return lambda model: model.graph.node.append(helper.make_node(operator, ["rows"], ["more"], domain=domain))


PLAIN: dict[str, Callable[[ModelProto], object]] = {
    "a file": external,
    "a graph of its own": a_branch_with_a_graph,
    "a graph in an attribute": a_graph_in_an_attribute,
    "a function": lambda model: model.functions.add(name="f", domain="local"),
    "another's operator": an_operator_of("com.microsoft", "Gelu"),
    "an operator that loops": an_operator_of("", "Loop"),
    "an operator of another domain": an_operator_of("ai.onnx.ml", "MatMul"),
    "a place before the first": extracting_before_the_first,
    "rows in one row": rows_in_a_row,
    "a tensor that claims more": a_tensor_that_claims_more,
    "an input that replaces what is learnt": lambda model: model.graph.input.append(
        helper.make_tensor_value_info(model.graph.initializer[0].name, TensorProto.DOUBLE, [None, 3])
    ),
    "two values with one name": lambda model: model.graph.node.append(
        helper.make_node("Abs", ["rows"], [model.graph.node[0].output[0]])
    ),
    "an operand that is not there": lambda model: model.graph.node[0].input.__setitem__(0, "nothing"),
    "an input of another rank": lambda model: model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=3),
}
CHANGES = {
    f"{kind}, {name}": (kind, change)
    for kind, changes in {"trees": TREES, "linear": LINEAR, "plain": PLAIN}.items()
    for name, change in changes.items()
}


@pytest.mark.parametrize(("kind", "change"), CHANGES.values(), ids=CHANGES)
def test_what_leads_out_of_bounds_is_refused(
    made: dict[str, bytes], kind: str, change: Callable[[ModelProto], object], tmp_path: Path
) -> None:
    model = onnx.load_from_string(made[kind])
    change(model)
    with pytest.raises(Refused) as refused:
        check(model, tmp_path)
    assert len(str(refused.value)) < 500


def test_a_model_whose_rows_get_wider_with_their_number_is_refused(made: dict[str, bytes], tmp_path: Path) -> None:
    model = onnx.load_from_string(made["linear"])
    linear = NodeProto()
    linear.CopyFrom(node(model, "LinearClassifier"))
    first = model.graph.node[0]
    wider = [
        helper.make_node("ArgMax", ["rows"], ["best"], axis=1, keepdims=0),
        helper.make_node("Gather", ["rows", "best"], [first.output[0]], axis=1),
    ]
    del model.graph.node[:]
    model.graph.node.extend([*wider, linear])
    # Three rows make three columns, which is what it has coefficients for: with four it would read on.
    with pytest.raises(Refused):
        check(model, tmp_path)


def test_a_column_that_is_not_there_is_extracted_by_no_runtime() -> None:
    nodes = [
        helper.make_node("Cast", ["asked"], ["place"], to=TensorProto.INT64),
        helper.make_node("ArrayFeatureExtractor", ["rows", "place"], ["found"], domain="ai.onnx.ml"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in WIDE.items()]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:2], values[2:]), opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    for place in (-1, -5, 3, 1e30):
        with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="index is out of range"):
            session.run(None, {"rows": rows, "asked": np.array([place], dtype=np.float32)})
    assert session.run(None, {"rows": rows, "asked": np.array([1], dtype=np.float32)})[0].tolist() == [[1.0], [4.0]]


def test_what_is_not_known_in_it_is_refused(made: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="it has fields that are not known"):
        check(made["plain"] + b"\xfa\x3f\x01x", tmp_path)


def test_bytes_that_are_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="it cannot be looked through"):
        check(b"\xff" * 50, tmp_path)


def test_one_that_is_too_large_is_refused(
    made: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "MOST_ONNX_BYTES", 100)
    with pytest.raises(Refused, match="expected at most 100"):
        check(made["plain"], tmp_path)


def test_a_model_that_is_made_of_other_operators_is_told_which(tmp_path: Path) -> None:
    model = exported(make_pipeline(StandardScaler(), SVC(random_state=0)))
    with pytest.raises(
        Refused, match="it has the operator SVMClassifier, which is not taken of a version that was logged"
    ):
        check(model, tmp_path)
