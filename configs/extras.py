"""Packages that only some of the work needs, and the extra that brings each."""

import importlib.util

from .errors import EnvironmentLacksError

# Module to import, by the name of the package that brings it: what exports and verifies.
EXPORT_TOOLS = {
    "torch": "torch",
    "onnx": "onnx",
    "onnx-ir": "onnx_ir",
    "onnxscript": "onnxscript",
    "onnxsim": "onnxsim",
}
EXPORT_REMEDY = "install it with: pip install 'vampnet-onnx[export]'"
# Package, which is also the module: the extra that brings it, what needs it, and the way
# without it.
OPTIONAL = {
    "librosa": ("onsets", "onset masks", "leave the onset mask width at 0"),
    "matplotlib": ("plots", "pictures", "leave out --plot"),
}


def is_installed(module: str) -> bool:
    """Say whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


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


def require_export_tools() -> None:
    """Refuse early where the packages that export and verify are not installed.

    Raises:
        EnvironmentLacksError: naming what is missing.
    """
    missing = [p for p, module in EXPORT_TOOLS.items() if not is_installed(module)]
    if missing:
        raise EnvironmentLacksError(
            f"this needs {', '.join(missing)}, not installed here; {EXPORT_REMEDY}"
        )
