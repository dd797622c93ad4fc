"""A float64 twin of a module that never holds all its weights twice.

How far a float32 result is from the float64 one is the reference's own rounding.  Casting a
model of released size outright takes twice its memory again, so large weights are widened only
while the module that owns them runs.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from vampnet_onnx.export.components.component import sharing_copy

# Weights below this are widened at once: tables and norms are read by other modules than the
# one that owns them, and they are small at any size.  Those above are linear and convolutional
# weights, which only their own forward reads.
_AT_ONCE_BYTES = 1 << 20


def float64_twin(module: nn.Module) -> nn.Module:
    """Return a copy that computes in float64; the module itself is left as it is.

    Args:
        module: without hooks; its weights are shared, not copied.
    """
    twin = sharing_copy(module)
    for part in twin.modules():
        own = dict(part.named_parameters(recurse=False))
        if sum(p.nbytes for p in own.values()) > _AT_ONCE_BYTES:
            part.register_forward_pre_hook(lambda part, _inputs, own=own: _widen(part, own))
            part.register_forward_hook(
                lambda part, _inputs, _output, own=own: _give_back(part, own),
                always_call=True,
            )
        else:
            _widen(part, own)
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.is_floating_point():
                part.register_buffer(name, buffer.double())
    return twin


def _widen(part: nn.Module, own: Mapping[str, Tensor]) -> None:
    for name, tensor in own.items():
        part.register_parameter(name, nn.Parameter(tensor.double(), requires_grad=False))


def _give_back(part: nn.Module, own: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in own.items():
        part.register_parameter(name, parameter)
