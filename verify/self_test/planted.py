"""A defect planted in a copy of a version, for a person who wants to see how it shows."""

import shutil
from pathlib import Path

from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import publish_folder, staging_folder
from vampnet_onnx.configs.store import write_manifest
from vampnet_onnx.configs.verification import VERIFICATION_NAME
from vampnet_onnx.export.onnx_file import read_graph, save_graph

from .defects import Defect, GraphDefect, all_defects


def plant_copy(artifacts: Path, defect: Defect, folder: Path) -> Path:
    """Copy a version with a defect in it, for which its manifest vouches.

    So it is what an exporter would leave that makes this mistake: hashes are right, and only
    what is computed tells.

    Args:
        artifacts: of a version, a model or a store; left as it is.
        folder: the copy's; made here.

    Returns:
        The file in which the defect was planted.

    Raises:
        InputError: the defect can only be made while a component is exported, or the version
            has no such component, or the folder exists already.
    """
    if not isinstance(defect, GraphDefect):
        fit = [d.name for d in all_defects() if isinstance(d, GraphDefect)]
        raise InputError(
            f"{defect.name} is made while a component is exported, and no file can be given"
            f" it; those of files are {', '.join(fit)}"
        )
    opened = open_artifacts(artifacts)
    record = opened.manifest.component(defect.component)
    if record is None:
        raise InputError(
            f"{opened.folder}: has no {defect.component}, in which {defect.name} is planted"
        )
    with staging_folder(folder.absolute().parent) as staged:
        made = staged / "made"
        leave = shutil.ignore_patterns(VERIFICATION_NAME)
        shutil.copytree(opened.folder, made, ignore=leave)
        model = read_graph(made / record.file.name)
        try:
            defect.plant(model)
        except (KeyError, StopIteration, ValueError, IndexError) as error:
            raise InputError(
                f"{opened.path(record)}: has not the place in which {defect.name} is planted"
                f" ({defect.culprit or 'the whole file'})"
            ) from error
        path, external = made / record.file.name, record.data is not None
        file, data = save_graph(model, path, external=external)
        other = record.model_copy(update={"file": file, "data": data})
        components = tuple(other if c is record else c for c in opened.manifest.components)
        write_manifest(made, opened.manifest.model_copy(update={"components": components}))
        publish_folder(made, folder)
    return folder / record.file.name
