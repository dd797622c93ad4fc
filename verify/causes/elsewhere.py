"""Parts of a graph on another provider or runtime: there they run wholly, or the walk ends."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.configs.runtime import USUAL, Runtime
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.pipeline.version.session import Opened, open_file
from vampnet_onnx.verify.localisation.graph import OpenPart, Run

OpenOn = Callable[[Path, Mapping[str, np.ndarray]], Opened]
"""Opens a file; the arrays are what it will first run on."""


def parts_on(runtime: Runtime, name: str) -> OpenPart:
    """Return what opens parts of a graph on a runtime; see `parts_opened_by`."""
    leave = "leave --provider and --runtime out"
    return parts_opened_by(
        lambda path, sample: open_file(path, runtime, sample=sample),
        name,
        f"does not run on {runtime}",
        f"walk it on ONNX Runtime's CPU: {leave}",
    )


def parts_opened_by(open_on: OpenOn, name: str, fails: str, way_out: str) -> OpenPart:
    """Return what opens parts of a graph.

    Args:
        name: of the graph's file, for messages.
        fails: says, in messages, that a part does not run.

    Returns:
        It raises EnvironmentLacksError where a part does not run there, and InputError of
        what is cut out so that no runtime loads it.
    """

    def lacks(error: InputError) -> EnvironmentLacksError:
        return EnvironmentLacksError(
            f"{name}: a part of it, cut out, {fails} ({error}); {way_out}"
        )

    def opened(part: ir.Model, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> Run:
        taken = [str(value.name) for value in part.graph.inputs]
        sample = {name: inputs[name] for name in taken}
        with temporary_folder() as folder:
            path = folder / name
            save_graph(part, path)
            try:
                session = open_on(path, sample)
            except InputError as error:
                open_file(path, USUAL)  # what does not load there, either, is no part
                raise lacks(error) from error

        def run(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            try:
                found = session.run({name: arrays[name] for name in taken}, only=wanted)
            except InputError as error:
                raise lacks(error) from error
            return [found[name] for name in wanted]

        return run

    return opened
