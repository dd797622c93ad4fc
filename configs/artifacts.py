"""Opening an artifact version: the manifest is read, and files are held to its hashes.

Hashing lets go of the interpreter's lock, so several files are hashed at once, and one is
hashed while it is loaded (`Artifacts.sealed`).  What is hashed there and what is loaded are
two readings of one file: it has to be the same file, unchanged, before and after both.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from .errors import InputError
from .files import is_there, sha256
from .machine import cores
from .manifest import MANIFEST_NAME, AdapterRecord, ComponentRecord, FileRecord, Manifest
from .runtime import Runtime
from .store import VERSION, find_version, read_manifest
from .verification import read_verification

# Which file it is and when it last changed: device, inode, bytes, both times in nanoseconds.
_State = tuple[int, ...]


@dataclass(frozen=True)
class Artifacts:
    """An opened version.

    Attributes:
        changed: files whose content is not what the manifest vouches for; empty unless they
            were opened unsealed.
        new: whether an export made it just now; else it was there already.
        _held: the state a file was in when it had the hash that is asked of it, by name and
            hash.
    """

    folder: Path
    manifest: Manifest
    changed: tuple[str, ...] = ()
    new: bool = False
    _held: dict[tuple[str, str], _State] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        made = self.manifest
        found = read_verification(self.folder)
        verified = "verified" if found else "not verified"
        count = f"{len(made.components)} components"
        return f"<Artifacts {made.model} in {self.folder}: {count}, {verified}>"

    def run_on(self, runtime: Runtime) -> Self:
        """Return them as what they are on a runtime: in bf16, transformers are a form."""
        return replace(self, manifest=self.manifest.in_bf16()) if runtime.bf16 else self

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

    @contextmanager
    def sealed(self, *files: FileRecord) -> Iterator[None]:
        """Hold files to the manifest's hashes while the block reads them.

        They are hashed beside the block, unless they were already and have not changed since.
        What the block raises gives way to what is found here: of a damaged file one should
        hear that it is damaged, not what became of reading it.

        Raises:
            InputError: a file is missing, not what the manifest vouches for, or changed
                meanwhile.
        """
        vouched = {file: self._state(file) for file in files if file.name not in self.changed}
        with _threads() as pool:
            held = [pool.submit(self._holds, file, state) for file, state in vouched.items()]
            try:
                yield
            finally:
                for (file, state), hashed in zip(vouched.items(), held, strict=True):
                    if not hashed.result():
                        raise self._damaged(file)
                    if self._state(file) != state:
                        raise InputError(
                            f"{self.folder / file.name}: was changed while it was read; run"
                            " again when nobody writes there"
                        )

    def _holds(self, file: FileRecord, state: _State) -> bool:
        """Return whether a file has its hash, if that is not known of this state of it."""
        path, asked = self.folder / file.name, (file.name, file.sha256)
        if self._held.get(asked) == state:
            return True
        try:
            holds = path.stat().st_size == file.size and sha256(path) == file.sha256
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        if holds and self._state(file) == state:
            self._held[asked] = state
        return holds

    def _damaged(self, file: FileRecord) -> InputError:
        return InputError(
            f"{self.folder / file.name}: its content is not what the manifest vouches for"
            f" (sha256 {file.sha256[:16]}… expected); the file was changed or damaged, export"
            " again, or delete the folder if it was fetched from a hub (or pass --unsealed to"
            " look at it as it is)"
        )

    def _state(self, file: FileRecord) -> _State:
        """Return the state of a file.

        Raises:
            InputError: there is none, or its name leads elsewhere.
        """
        path = self.folder / file.name
        if Path(file.name).name != file.name:
            raise InputError(
                f"{self.folder / MANIFEST_NAME}: file name {file.name!r} has a path"
            )
        if not is_there(path) or not path.is_file():
            raise InputError(f"{path}: missing, though the manifest lists it; export again")
        found = path.stat()
        times = found.st_mtime_ns, found.st_ctime_ns
        return (found.st_dev, found.st_ino, found.st_size, *times)


def open_artifacts(path: str | Path, *, unsealed: bool = False) -> Artifacts:
    """Open a version and check the hash of each of its files, several at once.

    Args:
        path: a version's folder, or a model's (its newest version is taken), or a store that
            holds one model; or ``hub:USER/REPO[@REVISION]``, which is fetched.
        unsealed: accept files whose hash is wrong, and say which; for a graph edited by hand.

    Raises:
        InputError: nothing there, a damaged manifest, a missing file or a wrong hash.
        EnvironmentLacksError: the hub cannot be reached.
    """
    found = _manifest_of(path)
    states = {file: found._state(file) for file in found.manifest.files()}
    largest_first, changed = sorted(states, key=lambda file: -file.size), []
    with _threads() as pool:
        held = {file: pool.submit(found._holds, file, states[file]) for file in largest_first}
        for file in states:
            if held[file].result():
                continue
            if not unsealed:
                raise found._damaged(file)
            changed.append(file.name)
    return replace(found, changed=tuple(changed))


def open_unhashed(path: str | Path) -> Artifacts:
    """Open a version whose files are hashed later: by `Artifacts.sealed`, as each is read.

    Args:
        path: as of `open_artifacts`.

    Raises:
        InputError: nothing there, a damaged manifest, or a file missing or of a wrong size.
    """
    found = _manifest_of(path)
    for file in found.manifest.files():
        found._state(file)
        if (found.folder / file.name).stat().st_size != file.size:
            raise found._damaged(file)
    return found


def _manifest_of(path: str | Path) -> Artifacts:
    folder = find_version(Path(path))
    return Artifacts(folder, read_manifest(folder))


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Give as many threads as there are cores; what waits for one is dropped at an error."""
    pool = ThreadPoolExecutor(cores(), "hash")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
