"""Defects of the components that are built: audio processor, mask generator, sampler."""

import numpy as np
import onnx_ir as ir

from vampnet_onnx.export.graph import MODULE_KEY

from .base import GraphDefect, nodes_of


class FilterForgets(GraphDefect, of="audio_processor", at="loudness.k_weighting"):
    """The loudness filter starts anew every tenth of a second, as a short FIR would."""

    def plant(self, model: ir.Model) -> None:
        scan = next(nodes_of(model, self.culprit, "Scan"))
        body = scan.attributes["body"].as_graph()
        state = body.outputs[0].producer()
        assert state is not None
        zero = ir.node(
            "Sub",
            [state.inputs[0]] * 2,
            name="forgotten",
            metadata_props={MODULE_KEY: self.culprit},
        )
        zero.outputs[0].name = "forgotten"
        body.insert_before(state, zero)
        state.replace_input_with(0, zero.outputs[0])


class GatesLeftOpen(GraphDefect, of="audio_processor", at="loudness.gate"):
    """Quiet blocks count in the loudness, as if there were no relative gate."""

    def plant(self, model: ir.Model) -> None:
        _change_constant(model, self.culprit, "Add", -10.0, -100.0)


class LoudestChannelTaken(GraphDefect, of="audio_processor", at=""):
    """Channels are mixed by their maximum instead of their mean."""

    def plant(self, model: ir.Model) -> None:
        mix = next(nodes_of(model, self.culprit, "ReduceMean"))
        mix.op_type = "ReduceMax"


class AnotherTarget(GraphDefect, of="audio_processor", at="normalise"):
    """Audio is brought to -23 LUFS."""

    def plant(self, model: ir.Model) -> None:
        _change_constant(model, self.culprit, "Add", -24.0, -23.0)


class PeaksPass(GraphDefect, of="audio_processor", at="limit_peak"):
    """A peak above full scale is let through."""

    def plant(self, model: ir.Model) -> None:
        _change_constant(model, self.culprit, "Greater", 1.0, 1e9)


class PrefixOneTooLong(GraphDefect, of="mask_generator", at="inpaint"):
    """One frame more than asked for is kept at the start."""

    def plant(self, model: ir.Model) -> None:
        users = _users(model, "prefix_frames")
        next(node for node in users if node.op_type == "Less").op_type = "LessOrEqual"


class RolledBackwards(GraphDefect, of="mask_generator", at="periodic"):
    """Periodic prompts are rolled the other way."""

    def plant(self, model: ir.Model) -> None:
        _users(model, "roll")[0].op_type = "Add"


class UpperCodebooksFromOneLater(GraphDefect, of="mask_generator", at="codebooks"):
    """The first of the upper codebooks is not masked."""

    def plant(self, model: ir.Model) -> None:
        _users(model, "upper_codebook_mask")[0].op_type = "Greater"


class BeatsInUpperCodebooks(GraphDefect, of="mask_generator", at="beats"):
    """The upper codebooks are not masked once more behind the beats."""

    def plant(self, model: ir.Model) -> None:
        *_, last = nodes_of(model, self.culprit, "Or")
        last.replace_input_with(1, last.inputs[0])


# At the first strategy in use when an OR is asked for.
class AlwaysAnd(GraphDefect, of="mask_generator", at="onsets"):
    """Strategies are combined by AND whatever is asked for."""

    def plant(self, model: ir.Model) -> None:
        never = constant_of(model, "never", np.array(False))
        asked = next(v for v in model.graph.inputs if v.name == "combine_or")
        for use in list(asked.uses()):
            use.node.replace_input_with(use.idx, never)


class GumbelSubtracted(GraphDefect, of="sampler", at="remask"):
    """Noise is taken off the confidence instead of being added."""

    def plant(self, model: ir.Model) -> None:
        *_, last = nodes_of(model, self.culprit, "Add")
        last.op_type = "Sub"


class CountRoundedUp(GraphDefect, of="sampler", at="remask"):
    """One code more than asked for is masked again."""

    def plant(self, model: ir.Model) -> None:
        next(nodes_of(model, self.culprit, "Floor")).op_type = "Ceil"


class NoiseMultiplied(GraphDefect, of="sampler", at="draw"):
    """Probabilities are multiplied by the noise instead of divided."""

    def plant(self, model: ir.Model) -> None:
        reshaped = _users(model, "exponential")[0].outputs[0]
        next(iter(reshaped.uses())).node.op_type = "Mul"


class ThirdTakenAtATie(GraphDefect, of="sampler", at="draw"):
    """Where two entries are as good as each other, the third best is drawn."""

    def plant(self, model: ir.Model) -> None:
        best = next(
            node
            for node in nodes_of(model, self.culprit, "ArgMax")
            if (divided := node.inputs[0]) is not None
            and (made := divided.producer()) is not None
            and made.op_type == "Div"
        )
        graph, users, nodes = best.graph, list(best.outputs[0].uses()), [best]
        assert isinstance(graph, ir.Graph)

        def add(kind: str, *inputs: ir.Value | None, outputs: int = 1, **more: int) -> ir.Node:
            name = f"tie/{len(nodes)}"
            facts = {MODULE_KEY: self.culprit}
            node = ir.node(
                kind, inputs, more, num_outputs=outputs, name=name, metadata_props=facts
            )
            for i, value in enumerate(node.outputs):
                value.name = f"{name}/{i}"
            graph.insert_after(nodes[-1], node)
            nodes.append(node)
            return node

        at = [constant_of(model, f"tie/at_{i}", np.array([i])) for i in range(4)]
        values, entries = add("TopK", best.inputs[0], at[3], outputs=2).outputs
        first, second = (add("Gather", values, i, axis=-1).outputs[0] for i in at[:2])
        third = add("Gather", entries, at[2], axis=-1).outputs[0]
        tied = add("Equal", first, second).outputs[0]
        drawn = add("Where", tied, third, best.outputs[0]).outputs[0]
        for use in users:
            use.node.replace_input_with(use.idx, drawn)
        for i, output in enumerate(graph.outputs):
            if output is best.outputs[0]:
                graph.outputs[i] = drawn


class NucleusTooWide(GraphDefect, of="sampler", at="filter.top_p"):
    """Top-p keeps what lies within p + 0.1."""

    def plant(self, model: ir.Model) -> None:
        branch = next(nodes_of(model, self.culprit, "Greater"))
        more = constant_of(model, "more", np.array(0.1, np.float32))
        wider = ir.node(
            "Add",
            [branch.inputs[1], more],
            name="filter.top_p/wider",
            metadata_props={MODULE_KEY: self.culprit},
        )
        wider.outputs[0].name = "filter.top_p/wider"
        assert branch.graph is not None
        branch.graph.insert_before(branch, wider)
        branch.replace_input_with(1, wider.outputs[0])


def _users(model: ir.Model, name: str) -> list[ir.Node]:
    """Return the nodes that take an input of the graph."""
    value = next(v for v in model.graph.inputs if v.name == name)
    return [use.node for use in value.uses()]


def constant_of(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    """Add a constant to a graph."""
    value = ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
        const_value=ir.tensor(array, name=name),
    )
    model.graph.register_initializer(value)
    return value


def _change_constant(model: ir.Model, path: str, kind: str, old: float, new: float) -> None:
    """Give a node in a scope another constant; other users keep the one they share."""
    for node in nodes_of(model, path, kind):
        for i, used in enumerate(node.inputs):
            if used is None or used.const_value is None or used.const_value.shape.rank():
                continue
            held = used.const_value.numpy()
            if held == old:
                changed = constant_of(model, f"{kind}_changed", np.asarray(new, held.dtype))
                node.replace_input_with(i, changed)
                return
    raise ValueError(f"no {kind} with {old} in {path}")
