"""The table of forms, and how one is made of a transformer's float32 graph."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from onnx_ir.passes import common

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import PassRecord
from vampnet_onnx.configs.names import FLOAT16
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.export.graph import CanonicalNames
from vampnet_onnx.export.passes.base import GraphPass, PassError, apply_passes

from .attention import DivideInNorms, QuantiseScores, SplitGates
from .half import HalfPrecision, half_product
from .quantise import (
    MICROSOFT,
    Floats,
    QuantiseProducts,
    RoundWeights,
    block_of,
    quantised_product,
    rounded_product,
)
from .rewriting import products, weight_names, weight_of

# Of the weights of the float32 form, at most; 8 bits take 0.26 to 0.29 of them.
_SMALLER = 0.75


@dataclass(frozen=True)
class Form:
    """A way to write a transformer.

    Attributes:
        operator: that makes it what it is; a graph without one is an error.
        domains: of operators that are no standard ones.
        passes: makes it, but for products with the weights of these names.
        product: what one of its products computes, of float32 [rows, in] and [in, out].
        product_bytes: what the weight of a product takes, by its shape [in, out].
        other_bytes: what a value of another weight takes.
    """

    name: str
    operator: str
    domains: frozenset[str]
    passes: Callable[[frozenset[str]], list[GraphPass]]
    product: Callable[[Floats, Floats], Floats]
    product_bytes: Callable[[int, int], int]
    other_bytes: int = 4


_INT8 = Form(
    "int8",
    "MatMulInteger",
    frozenset(),
    lambda left: [DivideInNorms(), QuantiseScores(), SplitGates(), QuantiseProducts(left)],
    quantised_product,
    lambda width, out: width * out + 4 * out,
)


def _weights_only(name: str, bits: int, *blocks: int) -> Form:
    def product_bytes(width: int, out: int) -> int:
        block = block_of(width, blocks)
        return -(-width // block) * out * (block * bits // 8 + 4)

    return Form(
        name,
        "MatMulNBits",
        frozenset({MICROSOFT}),
        lambda left: [
            DivideInNorms(),
            SplitGates(),
            RoundWeights(left, bits=bits, blocks=blocks),
        ],
        rounded_product(bits, blocks),
        product_bytes,
    )


_FP16 = Form(
    FLOAT16,
    "Cast",
    frozenset(),
    lambda left: [DivideInNorms(), HalfPrecision(left)],
    half_product,
    lambda width, out: 2 * width * out,
    other_bytes=2,
)

FORMS = {
    form.name: form
    for form in (_INT8, _weights_only("w8", 8, 256, 128), _weights_only("w4", 4, 32), _FP16)
}
"""Every form but float32, by name."""


def make_form(model: ir.Model, form: Form, left: frozenset[str]) -> list[PassRecord]:
    """Make a form of a float32 graph, in place.

    Args:
        left: names of the weights whose products stay in float32, as `left_in_float32` says.

    Raises:
        PassError: a pass does not hold, or the result has no operator of its kind.
        InputError: the result is not smaller, as of a model that is narrower than a block.
    """
    before = weight_bytes(model)
    records = write_form(model, form, left)
    require_form(model, form, before)
    return records


def write_form(model: ir.Model, form: Form, left: frozenset[str]) -> list[PassRecord]:
    """Write a float32 graph as a form does, in place, whatever that leaves of the form.

    Raises:
        PassError: a pass does not hold.
        InputError: there is no product with a weight of `left`.
    """
    unknown = left - {weight_of(node)[0] for node in products(model.graph)}
    records = apply_passes(model, form.passes(left))
    common.RemoveUnusedNodesPass()(model)
    model.graph.sort()
    records += apply_passes(model, [CanonicalNames(weight_names(model.graph))])
    unknown -= {weight_of(node)[0] for node in products(model.graph)}
    if unknown:
        raise InputError(f"the graph has no product with {', '.join(sorted(unknown))}")
    return records


def require_form(model: ir.Model, form: Form, before: int) -> None:
    """Refuse a graph that is none of a form.

    Args:
        before: bytes of the float32 graph's weights.

    Raises:
        PassError: it has no operator of its kind.
        InputError: it is not smaller.
    """
    if all(node.op_type != form.operator for node in model.graph):
        raise PassError(f"{form.name}: the graph has no {form.operator}")
    _require_smaller(form, weight_bytes(model), before)


def require_smaller(form: Form, products: Sequence[tuple[int, int]], others: int) -> None:
    """Refuse a form that cannot be smaller, before there is a graph.

    Args:
        products: shapes [in, out] of their weights.
        others: values that the other weights have.

    Raises:
        InputError: it is not smaller, even if it leaves nothing in float32.
    """
    after = sum(form.product_bytes(*shape) for shape in products) + form.other_bytes * others
    before = 4 * (sum(width * out for width, out in products) + others)
    _require_smaller(form, after, before)


def _require_smaller(form: Form, after: int, before: int) -> None:
    if not after <= _SMALLER * before:
        raise InputError(
            f"{form.name}: {after} bytes of weights where float32 has {before}; less than a"
            " quarter is saved, so leave it out of --variants"
        )


def errors_of_products(
    model: ir.Model, form: Form, inputs: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return how far each product of a form is from the float32 one on the same input.

    Args:
        model: the float32 graph; left as it is.
        inputs: to run it on.

    Returns:
        Relative L2 error, by the name of the weight.
    """
    made = model.clone()
    apply_passes(made, [item for item in form.passes(frozenset()) if _keeps_floats(item)])
    feeds, taken = (
        dict(inputs),
        {weight_of(node)[0]: node.inputs[0] for node in products(made.graph)},
    )
    names = {weight: str(value.name) for weight, value in taken.items() if value is not None}
    feeds |= weights_as_inputs(made)
    made.graph.outputs[:] = list(dict.fromkeys(v for v in taken.values() if v is not None))
    common.RemoveUnusedNodesPass()(made)
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        ir.to_proto(made).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    wanted = [item.name for item in session.get_outputs()]
    given = {item.name: feeds[item.name] for item in session.get_inputs()}
    found = dict(zip(wanted, session.run(wanted, given), strict=True))
    errors = {}
    for name, activation in names.items():
        x, weight = found[activation], feeds[name]
        rows = x.reshape(-1, x.shape[-1])
        # What float32 does not hold gives NaN, which is no error that a form may have.
        with np.errstate(over="ignore", invalid="ignore"):
            exact = rows @ weight
            # By a power of two, which changes no bit: squares of what float32 holds need not
            # be held.
            scale = np.ldexp(np.float32(1), -np.frexp(np.abs(exact).max())[1])
            error = np.linalg.norm((form.product(rows, weight) - exact) * scale)
            errors[name] = float(error / np.linalg.norm(exact * scale))
    return errors


def weights_as_inputs(
    model: ir.Model, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Make inputs of a graph's weights, so that a runtime neither copies nor packs them.

    Args:
        model: changed in place.
        names: of weights; all of them if None.

    Returns:
        What to feed to them, by name.
    """
    feeds = {}
    for name, value in list(model.graph.initializers.items()):
        if value.is_graph_input() or value.const_value is None:
            continue
        if names is None or name in names:
            feeds[name] = value.const_value.numpy()
            del model.graph.initializers[name]
            value.const_value = None
            model.graph.inputs.append(value)
    return feeds


def largest_error(form: Form) -> float:
    """Return the relative error above which a form leaves a product in float32."""
    return float(shipped("forms.toml")[form.name]["largest_error"])


def left_in_float32(errors: Mapping[str, float], limit: float) -> frozenset[str]:
    """Return the weights whose products are farther off than a limit."""
    return frozenset(name for name, error in errors.items() if not error <= limit)


def _keeps_floats(item: GraphPass) -> bool:
    return isinstance(item, (DivideInNorms, SplitGates))


def weight_bytes(model: ir.Model) -> int:
    """Return the bytes of a graph's weights and constants."""
    values = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in values if tensor is not None)
