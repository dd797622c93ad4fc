"""Packages that only some of the work needs, and the extra that brings each."""

import importlib.util
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from .errors import EnvironmentLacksError

# Module to import, by the name of the package that brings it: what exports and verifies.
EXPORT_TOOLS = {
    "torch": "torch",
    "onnx": "onnx",
    "onnx-ir": "onnx_ir",
    "onnxscript": "onnxscript",
    "onnxsim": "onnxsim",
    "safetensors": "safetensors",
}
# Those of them that `models` imports: enough for torch's noise.
FOR_MODELS = ("safetensors", "torch")
EXPORT_REMEDY = "install it with: pip install 'vampnet-onnx[export]'"
# Package, which is also the module: the extra that brings it, what needs it, and the way
# without it.
OPTIONAL = {
    "distributed": ("cluster", "sweeps on a cluster", "leave out --scheduler"),
    "librosa": ("onsets", "onset masks", "leave the onset mask width at 0"),
    "matplotlib": ("plots", "pictures", "leave out --plot"),
    "openvino": ("openvino", "runs on OpenVINO", "leave out --runtime openvino"),
}


def is_installed(module: str) -> bool:
    """Say whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def installed_version(package: str, module: str | None = None) -> tuple[str, str]:
    """Return the package that brings a module, and its version.

    A runtime comes as several packages, ``onnxruntime-gpu`` being one, with the same module.

    Args:
        module: to import; the package's name with underscores if left out.

    Raises:
        EnvironmentLacksError: no package that is installed brings it.
    """
    try:
        return package, metadata.version(package)
    except metadata.PackageNotFoundError:
        module = module or package.replace("-", "_")
        kin = metadata.packages_distributions().get(module)
        if not kin:
            raise EnvironmentLacksError(
                f"the package {package} is not installed; {EXPORT_REMEDY}"
            ) from None
        return kin[0], metadata.version(kin[0])


def declared_versions(package: str) -> SpecifierSet:
    """Return the versions of a package that ours declares it works with.

    Any, where what is installed of ours declares nothing: sources run in place know more than
    what was written down of them when they were installed.
    """
    for text in metadata.requires("vampnet-onnx") or []:
        requirement = Requirement(text)
        if requirement.name == package and requirement.url is None:
            return requirement.specifier
    return SpecifierSet()


def is_declared(package: str, version: str) -> bool:
    """Return whether a version is one that ours declares it works with."""
    return declared_versions(package).contains(Version(version), prereleases=True)


def shadowing(package: str, module: str) -> Path | None:
    """Return what is imported in the place of an installed package, if anything is.

    A folder or file of the same name in the working folder or on ``PYTHONPATH``, say.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    files = metadata.files(package)
    # A package that is developed in place lists its module nowhere.
    places = [
        Path(file.locate())
        for file in files or []
        if file.parts[0].partition(".")[0] == module
    ]
    own = not places or any(place.exists() and origin.samefile(place) for place in places)
    return None if own else origin


def require_optional(package: str, *, otherwise: str | None = None) -> None:
    """Refuse work that needs a package of `OPTIONAL`, before it begins.

    Args:
        otherwise: what to do without it, where that is not the usual.

    Raises:
        EnvironmentLacksError: it is not installed.
    """
    if not is_installed(package):
        extra, purpose, usual = OPTIONAL[package]
        raise EnvironmentLacksError(
            f"{purpose} need the package {package}, which is not installed; install it"
            f" (pip install 'vampnet-onnx[{extra}]') or {otherwise or usual}"
        )


def require_export_tools(*, only: Collection[str] = EXPORT_TOOLS) -> None:
    """Refuse early where the packages that export and verify are not installed.

    Args:
        only: those of `EXPORT_TOOLS` that are needed.

    Raises:
        EnvironmentLacksError: naming what is missing.
    """
    missing = [p for p in only if not is_installed(EXPORT_TOOLS[p])]
    if missing:
        raise EnvironmentLacksError(
            f"this needs {', '.join(missing)}, not installed here; {EXPORT_REMEDY}"
        )
