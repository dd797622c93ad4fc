"""The failing piece by itself: one module, its inputs, what it should give and what it gives.

A folder that someone else can run without checkpoint, artifacts or PyTorch.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from vampnet_onnx.configs.arrays import read_arrays
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import publish_folder, read_json, staging_folder
from vampnet_onnx.configs.runtime import USUAL, Runtime
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.pipeline.version.providers import require_runtime, runtime_for
from vampnet_onnx.pipeline.version.session import open_file
from vampnet_onnx.verify.localisation.culprit import distance

from .locate import Located

GRAPH, FACTS = "module.onnx", "bundle.json"
INPUTS, REFERENCE, EXPORT = "inputs.npz", "reference.npz", "export.npz"


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Facts:
    """Where a bundle comes from.

    Attributes:
        error: relative L2 of its output, on the reference's inputs.
        runtime: that it was walked on, in words.
    """

    component: str
    module: str
    case: str
    error: float
    runtime: str = str(USUAL)


def write_bundle(folder: Path, found: Located) -> bool:
    """Write the first culprit of a walk that is there to be cut out; say if there is one.

    What it gives is recorded of the file that is written, run as `replay` runs it: a walk runs
    without fusions and packed weights, which round otherwise.

    Raises:
        InputError: the folder exists or cannot be written, or the file does not run.
    """
    module = found.localisation.cut_out
    if module is None:
        return False
    ran_on = runtime_for(found.component, found.runtime)
    with staging_folder(folder.parent) as staged:
        save_graph(module.model, staged / GRAPH)
        gives = open_file(staged / GRAPH, ran_on, sample=module.inputs).run(module.inputs)
        error = distance(module.reference, list(gives.values()))
        facts = Facts(found.component, module.path, found.case, error, str(ran_on))
        for name, arrays in (
            (INPUTS, module.inputs),
            (REFERENCE, {f"output_{i}": a for i, a in enumerate(module.reference)}),
            (EXPORT, gives),
        ):
            # Names of values hold slashes, which a zip archive takes for folders.
            safe: dict[str, Any] = {k.replace("/", "|"): v for k, v in arrays.items()}
            np.savez(staged / name, **safe)
        (staged / FACTS).write_text(json.dumps(asdict(facts), indent=2) + "\n", "utf-8")
        publish_folder(staged, folder)
    return True


@dataclass(frozen=True)
class Replayed:
    """What a bundle does now.

    Attributes:
        error: relative L2 of the output now.
        same: whether the output is the recorded one, number for number, NaN with NaN.
        runtime: that it ran on, in words.
    """

    facts: Facts
    error: float
    same: bool
    runtime: str


def replay(folder: Path, runtime: Runtime = USUAL) -> Replayed:
    """Run the module of a bundle on its inputs.

    Args:
        runtime: that it runs on, if its component belongs there.

    Raises:
        InputError: not a bundle.
        EnvironmentLacksError: the runtime is not installed, or does not run all of it.
    """
    require_runtime(runtime)
    try:
        facts = Facts(**read_json(folder / FACTS))
        inputs, reference, recorded = (
            _arrays(folder / name) for name in (INPUTS, REFERENCE, EXPORT)
        )
    except (InputError, TypeError, ValidationError) as error:
        raise InputError(f"{folder}: not a bundle of localise ({error})") from error
    ran_on = runtime_for(facts.component, runtime)
    found = open_file(folder / GRAPH, ran_on, sample=inputs).run(inputs)
    same = all(
        n in found and np.array_equal(found[n], a, equal_nan=True) for n, a in recorded.items()
    )
    now = distance(list(reference.values()), list(found.values()))
    return Replayed(facts, now, same, str(ran_on))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    return {name.replace("|", "/"): array for name, array in read_arrays(path).items()}
