"""What a version that ``verify`` passed carries: ``verification.json``, beside its manifest.

The manifest says what was made and never changes; this says what was found of it, and goes
when something else is found later.  It names the manifest by its hash, so that it cannot vouch
for other files than those that were verified.

Gates in a manifest, which earlier versions of ours wrote at release, do not count: they do not
say over which matrix they held, and a later FAIL could not take them back.
"""

import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from .config import VerifySection, first_problem
from .errors import InputError
from .files import file_errors, is_there, replacing, sha256
from .manifest import MANIFEST_NAME, GateRecord, Record
from .packaged import shipped
from .store import find_version, version_number, versions

VERIFICATION_NAME = "verification.json"
VERIFICATION_SCHEMA = 1

_EARNED_BY = ("PASS", "AMBIGUOUS")  # verdicts of a report


class _Head(BaseModel):
    """What verifications of all schemas say, whatever else is in them."""

    schema_version: int = VERIFICATION_SCHEMA


class Matrix(Record):
    """The cases that were run, of all components."""

    seeds: tuple[int, ...]
    frames: tuple[int, ...]
    batches: tuple[int, ...]
    cases: int


class Verification(Record):
    """A verification that a version passed, over the whole matrix.

    Attributes:
        verdict: of the report; PASS or AMBIGUOUS, no other earns one.
        reference: what the version was compared with.
        manifest_sha256: of the manifest of the version that was verified.
        report_sha256: of the report.json that tells more.
        toolchain: versions of the tools that verified.
        date: when, ISO 8601 in UTC.
    """

    schema_version: int = VERIFICATION_SCHEMA
    verdict: str
    verdict_line: str
    reference: str
    gates: tuple[GateRecord, ...]
    manifest_sha256: str
    report_sha256: str
    toolchain: dict[str, str]
    date: str
    matrix: Matrix


@dataclass(frozen=True)
class Chosen:
    """The version that a path means to a command that uses artifacts.

    Attributes:
        newer: name of a newer version that is not verified and was passed over; else empty.
    """

    folder: Path
    verified: bool
    newer: str = ""

    def __str__(self) -> str:
        state = "verified" if self.verified else "not verified"
        why = f"{self.newer} is newer but not verified; " if self.newer else ""
        return f"{why}using {self.folder} ({state})"


def read_verification(folder: Path) -> Verification | None:
    """Read the verification of a version.

    Returns:
        None where there is none, or one of another manifest, of another schema, or with a
        verdict that earns none.

    Raises:
        InputError: it is there and cannot be read.
    """
    path = folder / VERIFICATION_NAME
    if not is_there(path):
        return None
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            raise InputError(f"{path}: is no regular file; remove it and verify again")
        text = path.read_bytes()
        if _Head.model_validate_json(text).schema_version != VERIFICATION_SCHEMA:
            return None
        found = Verification.model_validate_json(text)
    except FileNotFoundError:  # withdrawn meanwhile
        return None
    except ValidationError as error:
        raise InputError(
            f"{path}: not a verification this version can read ({first_problem(error)});"
            " remove it and verify again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    ours = found.manifest_sha256 == sha256(folder / MANIFEST_NAME)
    return found if ours and found.verdict in _EARNED_BY else None


def missing_cases(matrix: Matrix | VerifySection) -> list[str]:
    """Return what a matrix lacks of the default one, a reason each."""
    reasons = []
    for name in ("seeds", "frames", "batches"):
        wanted = shipped("defaults.toml")["verify"][name]
        missing = [str(value) for value in wanted if value not in getattr(matrix, name)]
        if missing:
            reasons.append(f"{name} {', '.join(missing)} of the default matrix did not run")
    return reasons


def write_verification(folder: Path, verification: Verification) -> None:
    """Write the verification of a version.

    Raises:
        InputError: the folder cannot be written.
    """
    with replacing(folder / VERIFICATION_NAME) as temporary:
        temporary.write_text(verification.model_dump_json(indent=2) + "\n", "utf-8")


def withdraw_verification(folder: Path) -> bool:
    """Remove the verification of a version; returns whether there was one.

    Raises:
        InputError: the folder cannot be written.
    """
    path = folder / VERIFICATION_NAME
    if not is_there(path):
        return False
    with file_errors(path):
        path.unlink(missing_ok=True)
    return True


def last_verified(
    model_folder: Path, before: Path | None = None
) -> tuple[Path, Verification] | None:
    """Return the newest verified version of a model, and what was found of it.

    Args:
        before: a version; only older ones count.
    """
    for number, folder in reversed(versions(model_folder)):
        if before is not None and number >= version_number(before):
            continue
        if (folder / MANIFEST_NAME).is_file() and (found := read_verification(folder)):
            return folder, found
    return None


def version_to_use(path: Path) -> Chosen:
    """Return the version that a path means to a command that uses artifacts.

    The newest verified one of a model, or of a store of one model; where none is verified, the
    newest.  A version's own folder is taken as it is, and so is that of one on a hub.

    Raises:
        InputError: there is none, or a store holds several models.
        EnvironmentLacksError: the hub cannot be reached.
    """
    newest = find_version(path)
    verified = read_verification(newest) is not None
    if verified or newest == path:
        return Chosen(newest, verified)
    last = last_verified(newest.parent)
    return Chosen(newest, False) if last is None else Chosen(last[0], True, newest.name)
