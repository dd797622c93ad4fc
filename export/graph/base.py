"""What a pass over a graph is, and the runner that checks each one."""

from collections.abc import Sequence

import onnx_ir as ir

from vampnet_onnx.configs.manifest import PassRecord
from vampnet_onnx.export.passes import PassResult


class GraphPass:
    """A transform of a graph in place.

    It says what it requires and what it then guarantees, as a pass over a module does
    (`export.passes.base`); what the graph computes is for the verification to say.
    """

    def requires(self, model: ir.Model) -> None:
        """Raise `PassError` if the pass cannot be applied to the graph; any will do here."""

    def call(self, model: ir.Model) -> PassResult:
        """Change the graph in place."""
        raise NotImplementedError

    def ensures(self, model: ir.Model) -> None:
        """Raise `PassError` if the graph is not as the pass promises."""
        raise NotImplementedError


def run_graph_passes(model: ir.Model, passes: Sequence[GraphPass]) -> list[PassRecord]:
    """Run passes in order, each with its requirements and promises checked.

    Raises:
        PassError: one of them does not hold.
    """
    records = []
    for item in passes:
        item.requires(model)
        result = item.call(model)
        item.ensures(model)
        records.append(PassRecord(name=type(item).__name__, **vars(result)))
    return records
