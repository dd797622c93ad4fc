"""Publishing: what is laid out, what is refused, and that nothing is sent twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import files_below
from tests.support.hub_server import COMMIT, Hub, from_the_start, own_world, serve
from tests.support.verified import part_of, verify_as_if
from tests.support.versions import published as version_made
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.cache import FOLDER_VARIABLE
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.hub import download
from vampnet_onnx.configs.manifest import GateRecord
from vampnet_onnx.configs.verification import Matrix, read_verification
from vampnet_onnx.reports.card import Licence
from vampnet_onnx.reports.publishing.job import Published, publish_version

MIT = Licence("mit")
FILES = [
    "README.md",
    "coarse.onnx",
    "manifest.json",
    *(f"report/{name}" for name in ("junit.xml", "report.html", "report.json", "report.md")),
    "verification.json",
]
ON_HUB = "hub:somebody/music"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "store" / "mine"


@pytest.fixture
def version(home: Path, tmp_path: Path) -> Path:
    """Folder of a version that is wholly verified; its report is in report/."""
    folder = version_made(home, tmp_path)
    verify_as_if(folder, tmp_path / "report")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A repository as it is when somebody has just made it."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    made = {".gitattributes": b"*.onnx filter=lfs", "README.md": b"---\nlicense: mit\n---\n"}
    with (
        own_world(monkeypatch, tmp_path / "hf-home"),
        serve(Hub("somebody/music", made, {*made})) as served,
    ):
        from_the_start(monkeypatch, served)
        monkeypatch.setattr(download, "_PAUSES", ())
        yield served


def publish(version: Path, to: object, report: Path | None = None, **more: Any) -> Published:
    told = report or version.parents[2] / "report"
    return publish_version(version, str(to), **{"licence": MIT, "report": told, **more})


def test_a_folder_holds_all_of_it_and_is_a_version(version: Path, tmp_path: Path) -> None:
    told = list[tuple[str, int, int]]()
    target = tmp_path / "out" / "music"
    made = publish(version, target, progress=lambda *item: told.append(item))
    assert files_below(target) == FILES == sorted(made.sent)
    assert made.version == version and made.place == str(target)
    assert told[-1][0] in FILES and told[-1][1] == told[-1][2]
    opened = open_artifacts(target)
    assert "verified" in repr(opened) and opened.manifest == open_artifacts(version).manifest
    assert (target / "report" / "report.json").read_bytes() == (
        tmp_path / "report" / "report.json"
    ).read_bytes()


def test_the_newest_version_of_a_model_is_published(version: Path, tmp_path: Path) -> None:
    assert publish(version, tmp_path / "one").version == version
    told = {"licence": MIT, "report": tmp_path / "report"}
    assert publish_version(version.parent, str(tmp_path / "two"), **told).version == version
    newer = version_made(version.parent, tmp_path, b"newer")
    with pytest.raises(InputError, match=r"v2: is the newest version and not verified.*v1"):
        publish_version(version.parent, str(tmp_path / "three"), **told)
    verify_as_if(newer, tmp_path / "report")
    assert publish_version(version.parent, str(tmp_path / "three"), **told).version == newer


def test_what_is_there_with_the_same_hashes_is_not_written_again(
    version: Path, tmp_path: Path
) -> None:
    target = tmp_path / "music"
    target.mkdir()
    assert len(publish(version, target).sent) == len(FILES), "an empty folder will do"
    before = {name: (target / name).stat().st_mtime_ns for name in FILES}
    assert publish(version, target).sent == ()
    assert before == {name: (target / name).stat().st_mtime_ns for name in FILES}


def test_a_folder_that_holds_something_else_is_left_alone(
    version: Path, tmp_path: Path
) -> None:
    target = tmp_path / "music"
    publish(version, target)
    (target / "song.wav").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holds something else \(song\.wav"):
        publish(version, target)
    (target / "song.wav").unlink()
    with pytest.raises(InputError, match=r"holds something else \(README\.md"):
        publish(version, target, licence=Licence("apache-2.0"))
    (target / "coarse.onnx").unlink()
    with pytest.raises(InputError, match=r"\(coarse\.onnx.*or is missing"):
        publish(version, target)
    with pytest.raises(InputError, match="is no folder"):
        publish(version, target / "manifest.json")


def test_the_folder_one_is_in_will_do_and_so_will_a_link_to_one(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("in", "linked"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("linked")
    publish(version, tmp_path / "link")
    assert files_below(tmp_path / "linked") == FILES and (tmp_path / "link").is_symlink()
    monkeypatch.chdir(tmp_path / "in")
    assert publish(version, ".").sent
    monkeypatch.chdir(tmp_path)
    assert files_below(tmp_path / "in") == FILES


def test_an_empty_folder_stays_where_nothing_is_published(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_source: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "music").mkdir()
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(InputError, match="the disk is full"):
        publish(version, tmp_path / "music")
    assert (tmp_path / "music").is_dir()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "--to '': names no folder"),
        ("dangling", "dangling: is a link to nothing"),
        ("a\n```\n# other", "has control characters"),
        ("a\x1b[2J", "has control characters"),
        ("hub:somebody/music@a\rb", "has control characters"),
    ],
)
def test_what_can_be_no_target_is_refused(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dangling").symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=told):
        publish(version, name)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_appears_whole_or_not_at_all(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile

    def full(source: Path, target: Path) -> None:
        if source.name == "report.md":
            raise OSError(28, "No space left on device")
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(InputError, match="the disk is full"):
        publish(version, tmp_path / "out" / "music")
    assert files_below(tmp_path / "out") == []


def test_what_is_not_verified_is_refused(version: Path, tmp_path: Path) -> None:
    other = version_made(tmp_path / "other" / "mine", tmp_path, b"other")
    target = tmp_path / "music"
    with pytest.raises(InputError, match=r"is not verified \(its verification.* is missing\)"):
        publish(other, target)
    shutil.copy(version / "verification.json", other)
    with pytest.raises(InputError, match=r"of another manifest, or of no PASS\).*verify "):
        publish(other, target)
    verify_as_if(version, tmp_path / "report", verdict="FAIL")
    with pytest.raises(InputError, match="of another manifest, or of no PASS"):
        publish(version, target)
    assert not target.exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"gates": ()}, "left out: coarse"),
        (
            {"matrix": Matrix(seeds=(0,), frames=(1,), batches=(1, 3), cases=1)},
            "seeds 1, 2 of",
        ),
        (
            {
                "gates": (
                    GateRecord(
                        component="coarse", name="max_abs", verdict="FAIL", value=2, limit=1
                    ),
                )
            },
            "coarse: max_abs fails",
        ),
    ],
    ids=["a component left out", "a part of the matrix", "a gate that fails"],
)
def test_less_than_a_whole_verification_is_refused(
    version: Path, tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    verify_as_if(version, tmp_path / "report", **changed)
    with pytest.raises(InputError, match=f"less than a whole verification.*{told}"):
        publish(version, tmp_path / "music")


def test_a_file_of_another_hash_is_refused(version: Path, tmp_path: Path) -> None:
    (version / "coarse.onnx").write_bytes(b"grapf")
    with pytest.raises(InputError, match=r"coarse\.onnx: its content is not what"):
        publish(version, tmp_path / "music")
    assert not (tmp_path / "music").exists()


def test_a_report_of_something_else_is_refused(version: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is missing, and should be.*--report DIR"):
        publish(version, tmp_path / "music", report=tmp_path / "nowhere")
    path = tmp_path / "report" / "report.json"
    path.write_text(path.read_text("utf-8").replace("PASS", "FAIL", 1), "utf-8")
    with pytest.raises(InputError, match="is not the report of the verification"):
        publish(version, tmp_path / "music")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"model": "other"}, "model 'other', here 'mine'"),
        ({"version": "v7"}, "version v7, here v1"),
        ({"components": []}, "nothing of coarse"),
        ({"components": "of another file"}, "coarse of sha256 0{64}, here "),
    ],
    ids=["model", "version", "nothing", "another file"],
)
def test_a_report_of_other_files_is_refused(
    version: Path, tmp_path: Path, told: dict[str, Any], why: str
) -> None:
    gates = read_verification(version)
    assert gates is not None
    if told.get("components"):
        (record,) = open_artifacts(version).manifest.components
        other = part_of(record).model_copy(update={"sha256": "0" * 64})
        told = {"components": [other]}
    verify_as_if(version, tmp_path / "report", told=told, gates=gates.gates)
    with pytest.raises(InputError, match=rf"something else than .* \({why}"):
        publish(version, tmp_path / "music")
    assert not (tmp_path / "music").exists()


def test_a_version_that_was_copied_elsewhere_has_its_report_still(
    version: Path, tmp_path: Path
) -> None:
    shutil.copytree(version, tmp_path / "copied")
    assert publish(tmp_path / "copied", tmp_path / "music", report=tmp_path / "report").sent


def test_a_repository_gets_all_of_it_in_one_commit_and_nothing_twice(
    hub: Hub, version: Path
) -> None:
    made = publish(version, ON_HUB)
    assert made.place == f"{ON_HUB}@{hub.head}" and hub.head != COMMIT
    assert sorted(hub.files) == [".gitattributes", *FILES] and sorted(made.sent) == FILES
    assert "license: mit" in hub.files["README.md"].decode()
    assert f'VampPipeline.open("{ON_HUB}")' not in hub.files["README.md"].decode()
    assert f'open_artifacts("{ON_HUB}")' in hub.files["README.md"].decode()
    kinds = [path.split("/")[1] for path in hub.sent()]
    assert kinds == ["upload", "api"], "one large file, one commit"
    hub.requests.clear()
    again = publish(version, ON_HUB)
    assert again.sent == () and again.place == made.place
    assert hub.sent() == [] and {seen.method for seen in hub.requests} <= {"GET", "HEAD"}
    fetched = open_artifacts(made.place)
    assert fetched.manifest == open_artifacts(version).manifest


def test_only_what_changed_is_sent_and_what_went_is_deleted(
    hub: Hub, version: Path, tmp_path: Path
) -> None:
    publish(version, ON_HUB)
    first = hub.head
    values = json.loads((version / "manifest.json").read_text("utf-8"))
    values["components"][0]["file"]["name"] = "coarse.new.onnx"
    (version / "coarse.onnx").rename(version / "coarse.new.onnx")
    (version / "manifest.json").write_text(json.dumps(values), "utf-8")
    verify_as_if(version, tmp_path / "report")
    hub.requests.clear()
    made = publish(version, ON_HUB)
    assert "coarse.new.onnx" in hub.files and "coarse.onnx" not in hub.files
    assert {"manifest.json", "verification.json", "coarse.new.onnx"} <= {*made.sent}
    assert not [path for path in hub.sent() if "upload" in path], "the hub has its content"
    assert (
        open_artifacts(f"{ON_HUB}@{first}").manifest.components[0].file.name == "coarse.onnx"
    )
    assert open_artifacts(ON_HUB).manifest.components[0].file.name == "coarse.new.onnx"


def test_a_repository_that_holds_something_else_is_left_alone(hub: Hub, version: Path) -> None:
    hub.commit({"pytorch_model.bin": b"theirs", "manifest.json": b"{}"})
    with pytest.raises(InputError, match="not a manifest this version can read"):
        publish(version, ON_HUB)
    hub.commit({"manifest.json": None})
    with pytest.raises(InputError, match=r"holds something else \(pytorch_model\.bin"):
        publish(version, ON_HUB)
    assert hub.sent() == []


def test_a_branch_that_is_at_no_commit_is_no_hubs(hub: Hub, version: Path) -> None:
    hub.head = "../escaped"
    with pytest.raises(InputError, match="answers, but not as a model hub"):
        publish(version, ON_HUB)


def test_a_branch_that_moves_meanwhile_is_not_overwritten(
    hub: Hub, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Hub.digest

    def moving(self: Hub, *item: Any) -> str:
        self.head = "d" * 40
        return digest(self, *item)

    monkeypatch.setattr(Hub, "digest", moving)
    with pytest.raises(InputError, match="was changed meanwhile"):
        publish(version, ON_HUB)
    assert "coarse.onnx" not in hub.files


def test_what_the_hub_refuses_is_told(
    hub: Hub, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="names a commit"):
        publish(version, f"{ON_HUB}@{COMMIT}")
    with pytest.raises(InputError, match="has no revision 'gone'"):
        publish(version, f"{ON_HUB}@gone")
    with pytest.raises(InputError, match="check the"):
        publish(version, "hub:somebody/else")
    hub.read_only = True
    with pytest.raises(InputError, match=r"written \(HTTP 403\).*HF_TOKEN"):
        publish(version, ON_HUB)
    hub.read_only, hub.token = False, "hf_secret"
    with pytest.raises(InputError, match="HF_TOKEN"):
        publish(version, ON_HUB)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert publish(version, ON_HUB).sent
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(EnvironmentLacksError, match="cannot be reached"):
        publish(version, ON_HUB)


def test_sending_that_ends_is_told_and_what_arrived_is_not_sent_again(
    hub: Hub, version: Path
) -> None:
    hub.refusals["upload"] = (400, "")
    with pytest.raises(InputError, match="HTTP 400"):
        publish(version, ON_HUB)
    assert hub.head == COMMIT, "no commit without the files"
    del hub.refusals["upload"]
    publish(version, ON_HUB)
    assert "coarse.onnx" in hub.files
