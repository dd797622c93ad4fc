"""Parts of a graph on another provider or runtime: there they run wholly, or the walk ends."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.pipeline.version.session import open_file
from vampnet_onnx.verify.localisation.graph import OpenPart, Run


def parts_on(runtime: Runtime, name: str) -> OpenPart:
    """Return what opens parts of a graph on a runtime.

    Args:
        name: of the graph's file, for messages.

    Returns:
        It raises EnvironmentLacksError where a part does not run there.
    """

    def lacks(error: InputError) -> EnvironmentLacksError:
        return EnvironmentLacksError(
            f"{name}: a part of it, cut out, does not run on {runtime} ({error}); walk it on"
            " ONNX Runtime's CPU: leave --provider and --runtime out"
        )

    def opened(part: ir.Model, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> Run:
        taken = [str(value.name) for value in part.graph.inputs]
        sample = {name: inputs[name] for name in taken}
        try:
            with temporary_folder() as folder:
                path = folder / name
                save_graph(part, path)
                session = open_file(path, runtime, sample=sample)
        except InputError as error:
            raise lacks(error) from error

        def run(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            try:
                found = session.run({name: arrays[name] for name in taken}, only=wanted)
            except InputError as error:
                raise lacks(error) from error
            return [found[name] for name in wanted]

        return run

    return opened
