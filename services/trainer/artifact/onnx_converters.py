"""ONNX converters of what skl2onnx itself does not know: XGBoost's and LightGBM's estimators, by onnxmltools."""

import sys
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

# Of a tree ensemble's attributes those that have a form in doubles (ai.onnx.ml 3). LightGBM compares in doubles.
IN_DOUBLES = ("nodes_values", "base_values", "class_weights", "target_weights")
OF_CLASSES = {"nocl": [True, False], "zipmap": [True, False, "columns"]}


def register() -> None:
    """Tell skl2onnx of the converters, of the libraries that are loaded: without one there is no model of its to convert."""
    for library, add in (("xgboost", _register_xgboost), ("lightgbm", _register_lightgbm)):
        if library in sys.modules:
            with suppress(ImportError, OSError):  # where they cannot be imported, there is no model of theirs either
                add()


@cache
def _register_xgboost() -> None:
    from contract.boosting.xgboost_estimators import XGBClassifier, XGBRegressor
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    _register(XGBClassifier, XGBRegressor, _converter(convert_xgboost, takes_doubles=False))


@cache
def _register_lightgbm() -> None:
    from contract.boosting.lightgbm_estimators import LGBMClassifier, LGBMRegressor
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    _register(LGBMClassifier, LGBMRegressor, _converter(convert_lightgbm, takes_doubles=True))


def _register(classifier: type, regressor: type, converter: Any) -> None:
    from skl2onnx import update_registered_converter

    update_registered_converter(classifier, classifier.__name__, _class_shapes, converter, options=OF_CLASSES)
    update_registered_converter(regressor, regressor.__name__, _value_shapes, converter)


def _class_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    calculate_linear_classifier_output_shapes(operator)
    operator.outputs[1].type = FloatTensorType(operator.outputs[1].type.shape)  # whatever the input is


def _value_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes

    calculate_linear_regressor_output_shapes(operator)
    operator.outputs[0].type = FloatTensorType(operator.outputs[0].type.shape)


class _Nodes:
    """A container of nodes that takes tree ensembles as onnxmltools makes them, and its numbers unrounded where they are doubles."""

    def __init__(self, container: Any, is_double: bool) -> None:
        self._container, self._is_double = container, is_double

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, kind: str, inputs: Any, outputs: Any, **attributes: Any) -> Any:
        """Add a node."""
        if kind.startswith("TreeEnsemble"):
            attributes["op_version"] = 3
            if self._is_double:
                attributes = _in_doubles(attributes)
        return self._container.add_node(kind, inputs, outputs, **attributes)


def _in_doubles(attributes: dict[str, Any]) -> dict[str, Any]:
    from onnx.numpy_helper import from_array

    found = {f"{name}_as_tensor": attributes[name] for name in IN_DOUBLES if name in attributes}
    tensors = {name: from_array(np.asarray(values, np.float64), name) for name, values in found.items()}
    # Hit rates say nothing, and may not be there beside doubles.
    return {name: value for name, value in attributes.items() if name not in (*IN_DOUBLES, "nodes_hitrates")} | tensors


def _converter(convert: Any, takes_doubles: bool) -> Any:
    """Return a converter of onnxmltools' as skl2onnx takes one; it refuses doubles for a library that compares in float32."""

    def converted(scope: Any, operator: Any, container: Any) -> None:
        from skl2onnx.common.data_types import DoubleTensorType

        is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
        if is_double and not takes_doubles:
            raise TypeError(f"{type(operator.raw_operator).__name__} compares in float32")
        convert(scope, operator, _Nodes(container, is_double))

    return converted
