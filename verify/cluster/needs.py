"""What a worker must have to stand in for this process: packages, our source, and files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError
from vampnet_onnx.configs.extras import installed_version
from vampnet_onnx.configs.files import is_there, sha256
from vampnet_onnx.configs.manifest import MANIFEST_NAME
from vampnet_onnx.export.toolchain import package_hash, toolchain
from vampnet_onnx.models import Checkpoints

_ENGINE = ("dask", "distributed")  # of one version on all sides, as they ask for themselves


@dataclass(frozen=True)
class Needs:
    """What this process has.

    Attributes:
        versions: by package, Python's and the hash of our own source with them.
        files: sha256 by absolute path.
    """

    versions: dict[str, str]
    files: dict[str, str]


@dataclass(frozen=True)
class Lack:
    """What a worker has otherwise.

    Attributes:
        packages: how versions differ, a phrase each.
        files: how files differ, likewise.
    """

    packages: tuple[str, ...]
    files: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether it lacks anything."""
        return bool(self.packages or self.files)


def needs_of(artifacts: Artifacts, checkpoints: Checkpoints) -> Needs:
    """Return what it takes to verify artifacts, opened by absolute paths, as this process."""
    manifest = artifacts.folder / MANIFEST_NAME
    changed = [artifacts.folder / name for name in artifacts.changed]
    files = {manifest: sha256(manifest)}
    files |= {artifacts.folder / f.name: f.sha256 for f in artifacts.manifest.files()}
    files |= {path: sha256(path) for path in changed}  # unsealed: as it is, not as vouched for
    return Needs(versions(), _named(files) | hashes_of(checkpoints))


def hashes_of(checkpoints: Checkpoints) -> dict[str, str]:
    """Return the hashes of a set's files by absolute path."""
    paths = [*checkpoints.files.values(), *filter(is_there, checkpoints.lora.values())]
    return _named({path: checkpoints.source(path).sha256 for path in paths})


def versions() -> dict[str, str]:
    """Return what decides numbers here: packages, Python, and our own source.

    Raises:
        EnvironmentLacksError: a package is not installed.
    """
    engine = {name: installed_version(name)[1] for name in _ENGINE}
    return {**toolchain(), **engine, "the source of vampnet-onnx": package_hash()[:16]}


def lacking(needs: Needs) -> Lack:
    """Return what is otherwise in this process, or in the files that it sees."""
    try:
        found = versions()
    except EnvironmentLacksError as error:
        return Lack((str(error),), ())
    packages = (
        f"{name} is {found.get(name, 'not there')}, not {wanted}"
        for name, wanted in needs.versions.items()
        if found.get(name) != wanted
    )
    return Lack(tuple(packages), tuple(_otherwise(needs.files.items())))


def _otherwise(files: Iterable[tuple[str, str]]) -> Iterable[str]:
    for name, wanted in files:
        try:
            found = sha256(Path(name))
        except OSError as error:
            yield f"{name} cannot be read there ({error.strerror})"
            continue
        if found != wanted:
            yield f"{name} has sha256 {found[:16]}… there, not {wanted[:16]}…"


def _named(files: dict[Path, str]) -> dict[str, str]:
    return {str(path.absolute()): digest for path, digest in files.items()}
