"""Defects of a graph after export."""

import numpy as np
import onnx_ir as ir

from vampnet_onnx.export.graph import MODULE_KEY

from .base import GraphDefect, nodes_of, replace_weight


class NaNAtOnePosition(GraphDefect, of="c2f", at="transformer.layers.1.feed_forward.w_1"):
    """One weight of a late layer is NaN."""

    def plant(self, model: ir.Model) -> None:
        def poison(weight: np.ndarray) -> np.ndarray:
            weight[0, 0] = np.nan
            return weight

        replace_weight(model, f"{self.culprit}.weight", poison)


class BiasNodeLost(GraphDefect, of="coarse", at="classifier.layers.0"):
    """The classifier's bias is not added."""

    def plant(self, model: ir.Model) -> None:
        replace_weight(model, f"{self.culprit}.bias", np.zeros_like)


class SoftmaxOverQueries(GraphDefect, of="coarse", at="transformer.layers.1.self_attn"):
    """A softmax runs over the wrong axis."""

    def plant(self, model: ir.Model) -> None:
        node = next(nodes_of(model, self.culprit, "Softmax"))
        node.attributes["axis"] = ir.AttrInt64("axis", 2)


class HeadsNotTransposed(GraphDefect, of="c2f", at="transformer.layers.0.self_attn"):
    """The heads of attention are joined in the wrong order."""

    def plant(self, model: ir.Model) -> None:
        *_, last = nodes_of(model, self.culprit, "Transpose")
        last.attributes["perm"] = ir.AttrInt64s("perm", [0, 2, 3, 1])


class WeightsOfTwoLayersSwapped(
    GraphDefect, of="coarse", at="transformer.layers.0.self_attn.fc"
):
    """Two layers hold each other's weight."""

    def plant(self, model: ir.Model) -> None:
        first, second = (
            model.graph.initializers[f"transformer.layers.{i}.self_attn.fc.weight"]
            for i in (0, 1)
        )
        first.const_value, second.const_value = second.const_value, first.const_value


class WeightRoundedToHalf(GraphDefect, of="codec_decoder", at="decoder.model.0"):
    """One weight has been through float16."""

    def plant(self, model: ir.Model) -> None:
        replace_weight(
            model, f"{self.culprit}.weight", lambda w: w.astype(np.float16).astype(np.float32)
        )


class StrideWithoutPadding(GraphDefect, of="codec_encoder", at="encoder.block.1.block.4"):
    """A strided convolution has lost its padding, and with it a frame."""

    def plant(self, model: ir.Model) -> None:
        node = next(nodes_of(model, self.culprit, "Conv"))
        node.attributes["pads"] = ir.AttrInt64s("pads", [0, 0])


class OutputDtypeChanged(GraphDefect, of="codec_encoder", at=""):
    """Codes leave the encoder as int32."""

    def plant(self, model: ir.Model) -> None:
        output = model.graph.outputs[0]
        name, output.name = output.name, f"{output.name}_wide"
        cast = ir.node("Cast", [output], {"to": ir.DataType.INT32})
        cast.metadata_props[MODULE_KEY] = ""
        cast.outputs[0].name = name
        cast.outputs[0].dtype = ir.DataType.INT32
        cast.outputs[0].shape = output.shape
        model.graph.append(cast)
        model.graph.outputs[0] = cast.outputs[0]


class AxisNamedWrong(GraphDefect, of="coarse", at=""):
    """Batch and frames have each other's name."""

    def plant(self, model: ir.Model) -> None:
        shape = model.graph.inputs[0].shape
        assert shape is not None
        model.graph.inputs[0].shape = ir.Shape([shape[2], shape[1], shape[0]])


class AxisFrozen(GraphDefect, of="c2f", at=""):
    """The number of frames is declared as the traced one."""

    def plant(self, model: ir.Model) -> None:
        shape = model.graph.inputs[0].shape
        assert shape is not None
        model.graph.inputs[0].shape = ir.Shape([shape[0], shape[1], 13])
