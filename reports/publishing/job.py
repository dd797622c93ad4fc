"""Publishing a verified version: what is laid out, and into a folder or to a hub.

What is laid out is the version's own files with its manifest and verification, the report of
that verification, and a model card.  A folder appears whole or not at all, and so does a
commit; what is there already with the same hashes is neither written nor sent.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import (
    file_errors,
    is_there,
    publish_folder,
    sha256,
    staging_folder,
    temporary_folder,
)
from vampnet_onnx.configs.hub.commit import Branch, branch_of, commit_files
from vampnet_onnx.configs.hub.download import COMMIT, Repository, describe, obtain
from vampnet_onnx.configs.hub.version import repository_of
from vampnet_onnx.configs.invocation import shell_line
from vampnet_onnx.configs.manifest import MANIFEST_NAME
from vampnet_onnx.configs.store import HUB, read_manifest
from vampnet_onnx.configs.text import has_control
from vampnet_onnx.configs.verification import (
    VERIFICATION_NAME,
    Verification,
    missing_cases,
    read_verification,
    version_to_use,
)
from vampnet_onnx.reports import Report, read_report, write_reports
from vampnet_onnx.reports.card import Licence, Place, render_card
from vampnet_onnx.reports.render import FILES as REPORT_FILES

CARD_NAME = "README.md"
_REPORT = "report"
# What a repository may hold of its own.
_ITS_OWN = (".gitattributes", "LICENSE")
_OURS = (
    MANIFEST_NAME,
    VERIFICATION_NAME,
    CARD_NAME,
    *(f"{_REPORT}/{name}" for name in REPORT_FILES.values()),
)

Progress = Callable[[str, int, int], None]
# Files by their path in what is published.
_Files = dict[str, Path]


@dataclass(frozen=True)
class Published:
    """What became of it.

    Attributes:
        version: the folder that was published.
        place: the folder, or ``hub:USER/REPO@COMMIT``.
        sent: files that were not there already.
    """

    version: Path
    place: str
    sent: tuple[str, ...]


def publish_version(
    artifacts: Path,
    to: str,
    *,
    licence: Licence,
    report: Path,
    progress: Progress = lambda *_: None,
) -> Published:
    """Publish a verified version.

    Args:
        artifacts: a version, or a model or a store, whose newest version is meant.
        to: a folder, or ``hub:USER/REPO``, and ``@BRANCH`` for another one than main.
        licence: of the weights.
        report: folder of the report of its verification.
        progress: told name, bytes there and size of each file.

    Raises:
        InputError: the version is not wholly verified, a file is another than its manifest
            says, the report is of something else, or the target holds something else.
        EnvironmentLacksError: the hub cannot be reached.
    """
    target = None if to.startswith(HUB) else _folder(to)
    if has_control(to if target is None else target.name):
        raise InputError(
            f"--to {to!r}: its name has control characters, which no line that loads it could"
            " show; choose another"
        )
    opened, verification = _verified(artifacts)
    told = _report_of(opened, verification, report)
    if target is None:
        hub = repository_of(to)
        if COMMIT.fullmatch(hub.revision):
            raise InputError(f"{to}: names a commit, which never changes; name a branch")
        branch = branch_of(hub)
        address = f"{hub.endpoint}/{hub.repo}/resolve/{hub.revision}"
        with _laid_out(opened, told, licence, Place(to, address)) as files:
            commit, sent = _to_hub(branch, files, opened, progress)
        return Published(opened.folder, f"{HUB}{hub.repo}@{commit}", sent)
    name = target.name  # where it lies on this machine concerns nobody else
    with _laid_out(opened, told, licence, Place(name, name)) as files:
        sent = _to_folder(files, target, progress)
    return Published(opened.folder, to, sent)


def _folder(to: str) -> Path:
    """Return where a folder is, or will be: of a link to one, where that leads."""
    if not to:
        raise InputError(
            "--to '': names no folder; name one that is not there, or an empty one"
        )
    target = Path(to)
    if not is_there(target) and target.is_symlink():
        raise InputError(f"{target}: is a link to nothing; choose another place")
    return target.resolve()


def _verified(path: Path) -> tuple[Artifacts, Verification]:
    """Open the version that is meant, all hashes checked, with what was found of it."""
    chosen = version_to_use(path)
    line = shell_line("verify", chosen.folder, "--checkpoint", "DIR")
    verify = f"verify it over the whole matrix: {line}"
    if chosen.newer:
        raise InputError(
            f"{chosen.folder.with_name(chosen.newer)}: is the newest version and not verified;"
            f" verify it, or name {chosen.folder}"
        )
    found = read_verification(chosen.folder)
    if found is None:
        there = is_there(chosen.folder / VERIFICATION_NAME)
        why = "is of another manifest, or of no PASS" if there else "is missing"
        raise InputError(
            f"{chosen.folder}: is not verified (its {VERIFICATION_NAME} {why}), so it is not"
            f" published; {verify}"
        )
    opened = open_artifacts(chosen.folder)
    judged = {gate.component for gate in found.gates}
    left = [part.id for part in opened.manifest.components if part.id not in judged]
    reasons = missing_cases(found.matrix)
    reasons += [f"left out: {', '.join(left)}"] if left else []
    reasons += [f"{g.component}: {g.name} fails" for g in found.gates if g.verdict == "FAIL"]
    if reasons:
        raise InputError(
            f"{chosen.folder / VERIFICATION_NAME}: is of less than a whole verification"
            f" ({'; '.join(reasons)}), so it is not published; {verify}"
        )
    return opened, found


def _report_of(opened: Artifacts, found: Verification, folder: Path) -> Report:
    """Read the report that a verification is of."""
    path = folder / REPORT_FILES["json"]
    if not is_there(path) or sha256(path) != found.report_sha256:
        what = "is not" if is_there(path) else "is missing, and should be"
        raise InputError(
            f"{path}: {what} the report of the verification of {opened.folder}"
            f" ({found.date}); name its folder with --report DIR, or verify again"
        )
    report = read_report(path)
    other = _other_than(opened, report)
    if other:
        raise InputError(
            f"{path}: is of something else than {opened.folder} ({other}), though its"
            f" {VERIFICATION_NAME} names it; verify again"
        )
    return report


def _other_than(opened: Artifacts, report: Report) -> str:
    """Return what a report tells of other files than these; empty if nothing."""
    model = opened.manifest.model
    if report.model != model:
        return f"model {report.model!r}, here {model!r}"
    # A folder that was copied elsewhere is no version any more.
    if opened.version and report.version and report.version != opened.version:
        return f"version {report.version}, here {opened.version}"
    told = {part.id: part.sha256 for part in report.components}
    for record in opened.manifest.components:
        if record.id not in told:
            return f"nothing of {record.id}"
        if told[record.id] != record.file.sha256:
            return f"{record.id} of sha256 {told[record.id]}, here {record.file.sha256}"
    return ""


@contextmanager
def _laid_out(
    opened: Artifacts, report: Report, licence: Licence, place: Place
) -> Iterator[_Files]:
    """Give every file of a publication; those that are written for it go at the end."""
    names = [MANIFEST_NAME, VERIFICATION_NAME, *(f.name for f in opened.manifest.files())]
    files = {name: opened.folder / name for name in names}
    with temporary_folder() as made:
        card = made / CARD_NAME
        card.write_text(render_card(opened.manifest, report, licence, place), "utf-8")
        told = write_reports(report, made / _REPORT)
        files |= {path.relative_to(made).as_posix(): path for path in (card, *told.values())}
        yield files


def _to_folder(files: _Files, target: Path, progress: Progress) -> tuple[str, ...]:
    """Make a folder that holds the files; returns those that were not there."""
    with file_errors(target):
        if is_there(target):
            if not target.is_dir():
                raise InputError(f"{target}: is no folder; name one that is not there")
            if any(target.iterdir()):
                _require_same(files, target)
                return ()
        with staging_folder(target.parent) as staged:
            for name, source in files.items():
                size = source.stat().st_size
                progress(name, 0, size)
                (staged / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(source, staged / name)
                progress(name, size, size)
            if is_there(target):
                target.rmdir()  # only now, and only if it is empty still
            publish_folder(staged, target)
    return tuple(files)


def _require_same(files: _Files, target: Path) -> None:
    """Refuse a folder that holds something else than these files."""
    there = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    other = sorted(there - files.keys())
    other += [
        name
        for name, source in files.items()
        if name not in there or sha256(target / name) != sha256(source)
    ]
    if other:
        raise InputError(
            f"{target}: holds something else ({other[0]} is not what would be published, or"
            " is missing), and nothing is overwritten; name a folder that is not there"
        )


def _to_hub(
    branch: Branch, files: _Files, opened: Artifacts, progress: Progress
) -> tuple[str, tuple[str, ...]]:
    """Make a commit that holds the files; returns it, and those that were not there."""
    earlier = _published_before(branch)
    other = sorted(branch.digests.keys() - files.keys() - earlier - {*_ITS_OWN})
    if other:
        raise InputError(
            f"{HUB}{branch.hub.repo}: holds something else ({', '.join(other[:3])}), of no"
            " version that was published there; name a repository of its own"
        )
    sent = {name: path for name, path in files.items() if not branch.holds(name, path)}
    gone = sorted(earlier & branch.digests.keys() - files.keys())
    if not sent and not gone:
        return branch.commit, ()
    message = f"{opened.manifest.model} {opened.version}".strip() + " by vampnet-onnx publish"
    return commit_files(branch, sent, gone, message, progress), tuple(sent)


def _published_before(branch: Branch) -> set[str]:
    """Return what may be replaced: files of ours, and those that a manifest there lists."""
    hub = Repository(branch.hub.repo, branch.commit, branch.hub.endpoint)
    if MANIFEST_NAME not in branch.digests:
        return {*_OURS}
    remote = describe(hub, MANIFEST_NAME)
    assert remote is not None, "the commit holds it"
    with temporary_folder() as folder:
        obtain(hub, remote, folder / MANIFEST_NAME, lambda *_: None)
        manifest = read_manifest(folder)
    return {*_OURS, *(file.name for file in manifest.files())}
