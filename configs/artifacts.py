"""Opening an artifact version: the manifest is read and every file's hash checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError
from .files import is_there, sha256
from .manifest import MANIFEST_NAME, AdapterRecord, ComponentRecord, Manifest
from .store import VERSION, find_version, read_manifest
from .verification import read_verification


@dataclass(frozen=True)
class Artifacts:
    """An opened version.

    Attributes:
        changed: files whose content is not what the manifest vouches for; empty unless they
            were opened unsealed.
        new: whether an export made it just now; else it was there already.
    """

    folder: Path
    manifest: Manifest
    changed: tuple[str, ...] = ()
    new: bool = False

    def __repr__(self) -> str:
        made = self.manifest
        found = read_verification(self.folder)
        verified = "verified" if found else "not verified"
        count = f"{len(made.components)} components"
        return f"<Artifacts {made.model} in {self.folder}: {count}, {verified}>"

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a flat row a component: file, size, hash and signature."""
        return [
            {
                "model": self.manifest.model,
                "version": self.version,
                "component": record.id,
                "file": record.file.name,
                "bytes": record.size,
                "sha256": record.file.sha256,
                "opset": record.opset,
                "inputs": ", ".join(str(item) for item in record.inputs),
                "outputs": ", ".join(str(item) for item in record.outputs),
            }
            for record in self.manifest.components
        ]

    @property
    def version(self) -> str:
        """Folder name if it is a version's, such as ``v1``; else empty."""
        return self.folder.name if VERSION.fullmatch(self.folder.name) else ""

    def path(self, component: ComponentRecord) -> Path:
        """Return the path of a component's graph."""
        return self.folder / component.file.name

    def adapters(self, name: str) -> list[AdapterRecord]:
        """Return the adapters of a name, one for each component that has it.

        Raises:
            InputError: no component has it.
        """
        there = self.manifest.adapters
        found = [adapter for adapter in there if adapter.name == name]
        if not found:
            known = ", ".join(sorted({adapter.name for adapter in there}))
            raise InputError(
                f"{self.folder}: has no adapter {name!r}; it has {known or 'none'}"
                " (export --lora FILE --lora-adapters makes them)"
            )
        return found


def open_artifacts(path: str | Path, *, unsealed: bool = False) -> Artifacts:
    """Open a version and check the hash of each of its files.

    Args:
        path: a version's folder, or a model's (its newest version is taken), or a store that
            holds one model.
        unsealed: accept files whose hash is wrong, and say which; for a graph edited by hand.

    Raises:
        InputError: nothing there, a damaged manifest, a missing file or a wrong hash.
    """
    folder = find_version(Path(path))
    manifest = read_manifest(folder)
    changed = []
    for record in manifest.files():
        file = folder / record.name
        if Path(record.name).name != record.name:
            raise InputError(f"{folder / MANIFEST_NAME}: file name {record.name!r} has a path")
        if not is_there(file) or not file.is_file():
            raise InputError(f"{file}: missing, though the manifest lists it; export again")
        if file.stat().st_size == record.size and sha256(file) == record.sha256:
            continue
        changed.append(record.name)
        if not unsealed:
            raise InputError(
                f"{file}: its content is not what the manifest vouches for (sha256"
                f" {record.sha256[:16]}… expected); the file was changed or damaged, export"
                " again (or pass --unsealed to look at it as it is)"
            )
    return Artifacts(folder, manifest, tuple(changed))
