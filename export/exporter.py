"""One component to one ONNX model.

A network's graph is made without weights (`export.trace`).  They are put in as what computes
them, one at a time, when they are asked for.  The graph of what has no weights is built.
Nothing is caught and nothing falls back: a pass that does not hold, an axis that froze or a
weight left over stops the export.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import PassRecord

from .adapters import OpenForAdapters
from .components.component import (
    Build,
    BuiltComponent,
    Component,
    GeneratorComponent,
    TracedComponent,
)
from .deferred import deferred
from .graph import GraphBuilder, check_graph, ir_version_of
from .graph.builder import Var
from .passes.base import apply_passes, finite_outputs
from .runtime import require_runtime
from .trace import OpenGraph, filled, traced_graph
from .variants.forms import (
    FORMS,
    errors_of_products,
    largest_error,
    left_in_float32,
    make_form,
)

DEFAULT_OPSET = 20
PRODUCER = "vampnet-onnx"


@dataclass(frozen=True)
class Exported:
    """A graph in memory, its weights on disk, and the passes that made it.

    Attributes:
        left: weights that a form left in float32, see `configs.manifest.ComponentRecord`.
    """

    component: Component
    model: ir.Model
    opset: int
    passes: tuple[PassRecord, ...]
    left: Mapping[str, float] = field(default_factory=dict)


def export_component(
    component: Component,
    *,
    opset: int = DEFAULT_OPSET,
    adaptable: bool = False,
    graph: Callable[[], OpenGraph] | None = None,
    left: Mapping[str, float] | None = None,
    leave: Collection[str] = (),
) -> Exported:
    """Export one component.

    Args:
        component: its module, if it has one, is left as it is.
        opset: of the default domain, 18 to 23.
        adaptable: give the layers that LoRA reaches inputs for adapters.
        graph: gives the component's graph, if somebody has it; else it is traced here.
        left: weights that a form leaves in float32; None measures which they should be.
        leave: weights that it leaves besides those.

    Raises:
        PassError: a transform did not hold what it promises.
        NotFiniteError: what the component computes is NaN or infinite.
        InputError: a form is not smaller, or has no product with a weight of `leave`.
        EnvironmentLacksError: the runtime is too old for the opset.
    """
    require_runtime(opset)
    if isinstance(component, BuiltComponent):
        model, records = _built(component, component.build, opset)
    elif isinstance(component, GeneratorComponent):
        inner = export_component(component.network, opset=opset, graph=graph)
        around = component.build

        def build(g: GraphBuilder, given: Mapping[str, Var]) -> Mapping[str, Var]:
            return around(g, given, inner.model)

        model, records = _built(component, build, opset)
        records = [*inner.passes, *records]
    elif isinstance(component, TracedComponent):
        finite_outputs(component.module, component.example)
        module = deferred(component.module)
        records = apply_passes(module, component.passes)
        found = traced_graph(component, module, opset) if graph is None else graph()
        model = filled(component, found, module)
        records += found.passes
    else:
        raise TypeError(f"{component.id} is neither traced nor built")
    if adaptable:
        records += apply_passes(model, [OpenForAdapters()])
    domains: frozenset[str] = frozenset()
    if isinstance(component, TracedComponent) and component.form:
        form = FORMS[component.form]
        if left is None:
            left = _too_far_off(component, model, leave)
        records += make_form(model, form, frozenset(left))
        domains = form.domains
    check_graph(model, opset, domains)
    model.ir_version = ir_version_of(opset)
    model.producer_name = PRODUCER
    model.producer_version = None
    return Exported(component, model, opset, tuple(records), left or {})


def _too_far_off(
    component: TracedComponent, model: ir.Model, leave: Collection[str]
) -> dict[str, float]:
    """Return the weights whose products a form may not round, with their errors."""
    form = FORMS[component.form]
    inputs = {
        item.name: value.numpy()
        for item, value in zip(component.inputs, component.example, strict=True)
    }
    errors = errors_of_products(model, form, inputs)
    unknown = sorted(set(leave) - errors.keys())
    if unknown:
        raise InputError(f"{component.id}: there is no product with {unknown[0]} to leave")
    kept = left_in_float32(errors, largest_error(form)).union(leave)
    return {name: errors[name] for name in sorted(kept)}


def _built(
    component: Component, build: Build, opset: int
) -> tuple[ir.Model, list[PassRecord]]:
    builder = GraphBuilder()
    inputs = {item.name: builder.input(item) for item in component.inputs}
    model = builder.finish(component.outputs, build(builder, inputs), opset)
    count = sum(1 for _ in model.graph.all_nodes())
    # The names that manifests have had from the start.
    return model, [PassRecord(name="DrawGraph", changed=count, details=f"drew {count} nodes")]
