"""VampNet checkpoints to ONNX files one can trust, with the proof.

What a program uses, with folders and files as `str` or `Path`:

    made = vampnet_onnx.export_checkpoints("checkpoints/mine")
    report = vampnet_onnx.verify_export(made, "checkpoints/mine")
    vampnet_onnx.localise_error(made, "checkpoints/mine", component="coarse", seed=3)

    vampnet_onnx.export_with_paths(module, example, "any.onnx")  # any module of PyTorch
    vampnet_onnx.localise(module, "any.onnx", inputs)

    pipeline = vampnet_onnx.VampPipeline.open("artifacts/mine")
    audio, variation = pipeline.process_audio(samples, 44100, seed=4)

Results say what they are (`repr`), and ``to_rows()`` gives them as flat rows for a data frame.
What goes wrong is an `InputError` (files, options), an `EnvironmentLacksError` (a package that
is not installed) or a `NotFiniteError` (a model computes NaN), in the words of the commands.

Nothing here loads torch, onnx or matplotlib before it is used; running artifacts never does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
    from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, NotFiniteError
    from vampnet_onnx.configs.runtime import Runtime
    from vampnet_onnx.configs.settings import (
        generation_settings,
        mask_settings,
        vamp_settings,
    )
    from vampnet_onnx.export.jobs import export_checkpoints
    from vampnet_onnx.export.with_paths import export_with_paths
    from vampnet_onnx.models.behaviour.torch_draws import TorchDraws
    from vampnet_onnx.pipeline.vamp import VampPipeline, Variation
    from vampnet_onnx.reports import Report, read_report, write_reports
    from vampnet_onnx.verify.causes.locate import Located, localise_error
    from vampnet_onnx.verify.jobs import verify_export
    from vampnet_onnx.verify.localisation.any_module import ModuleWalk, localise

    __version__: str

__all__ = [
    "Artifacts",
    "EnvironmentLacksError",
    "InputError",
    "Located",
    "ModuleWalk",
    "NotFiniteError",
    "Report",
    "Runtime",
    "TorchDraws",
    "VampPipeline",
    "Variation",
    "__version__",
    "export_checkpoints",
    "export_with_paths",
    "generation_settings",
    "localise",
    "localise_error",
    "mask_settings",
    "open_artifacts",
    "read_report",
    "vamp_settings",
    "verify_export",
    "write_reports",
]

_HOMES = {
    "configs.artifacts": ("Artifacts", "open_artifacts"),
    "configs.runtime": ("Runtime",),
    "configs.errors": ("EnvironmentLacksError", "InputError", "NotFiniteError"),
    "configs.settings": ("generation_settings", "mask_settings", "vamp_settings"),
    "export.jobs": ("export_checkpoints",),
    "export.with_paths": ("export_with_paths",),
    "models.behaviour.torch_draws": ("TorchDraws",),
    "pipeline.vamp": ("VampPipeline", "Variation"),
    "reports": ("Report", "read_report", "write_reports"),
    "verify.jobs": ("verify_export",),
    "verify.causes.locate": ("Located", "localise_error"),
    "verify.localisation.any_module": ("ModuleWalk", "localise"),
}
_NEED_EXPORT_TOOLS = (
    "export.jobs",
    "export.with_paths",
    "verify.jobs",
    "verify.causes.locate",
    "verify.localisation.any_module",
)


if not TYPE_CHECKING:  # a type checker would take any name for one that is there

    def __getattr__(name: str) -> Any:
        """Load a name of ``__all__`` from its room when it is first used."""
        if name == "__version__":
            from importlib import metadata  # slow to load, and an interrupt may come meanwhile

            return metadata.version("vampnet-onnx")
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if home in _NEED_EXPORT_TOOLS:
            from vampnet_onnx.configs.extras import require_export_tools

            require_export_tools()
        if home == "models.behaviour.torch_draws":
            from vampnet_onnx.configs.extras import FOR_MODELS, require_export_tools

            require_export_tools(only=FOR_MODELS)
        value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
