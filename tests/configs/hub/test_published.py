"""Fetching from a hub on loopback: intact, resumed, checked, and clear when it cannot be."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.support.hub_server import COMMIT, Hub, own_world, serve
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.hub import download as hub_module
from vampnet_onnx.configs.hub.published import (
    fetch_published,
    published,
)

NAMES = ["codec.pth", "coarse.pth", "c2f.pth"]
SIZE = 300_000
SOME = 120_000  # bytes that arrive before a connection is cut

FILES = {
    path: random.Random(path).randbytes(SIZE)
    for path in [
        *NAMES,
        *(f"loras/{n}/{c}.pth" for n in ("bees", "opera") for c in ("coarse", "c2f")),
        "loras/half/coarse.pth",
    ]
}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with own_world(monkeypatch, tmp_path / "hf-home"):
        yield


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve(Hub(published().repo, dict(FILES))) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up at the first connection that brings nothing."""
    monkeypatch.setattr(hub_module, "_PAUSES", ())


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_published_set_arrives_intact(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    paths = fetch_published(out)
    assert paths == [out / name for name in NAMES]
    assert [path.read_bytes() for path in paths] == [FILES[name] for name in NAMES]
    assert entries(out) == sorted(NAMES)


def test_only_what_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    assert fetch_published(tmp_path, only=["c2f", "codec"]) == [
        tmp_path / "codec.pth",
        tmp_path / "c2f.pth",
    ]
    assert not any("coarse" in seen.path for seen in hub.requests)


def test_unknown_component_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'corse' \(did you mean 'coarse'\?\)"):
        fetch_published(tmp_path, only=["corse"])


def test_second_call_downloads_nothing(hub: Hub, tmp_path: Path) -> None:
    fetch_published(tmp_path)
    hub.requests.clear()
    fetch_published(tmp_path)
    assert hub.requests
    assert not hub.downloads()


def test_damaged_file_is_replaced(hub: Hub, tmp_path: Path) -> None:
    fetch_published(tmp_path)
    (tmp_path / "coarse.pth").write_bytes(FILES["coarse.pth"][:1000])
    hub.requests.clear()
    fetch_published(tmp_path)
    assert (tmp_path / "coarse.pth").read_bytes() == FILES["coarse.pth"]
    assert [seen.path.rpartition("/")[2] for seen in hub.downloads()] == ["coarse.pth"]


def test_progress_counts_to_the_size(hub: Hub, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    fetch_published(tmp_path, only=["codec"], progress=lambda *now: told.append(now))
    assert told[0] == ("codec.pth", 0, SIZE)
    assert told[-1] == ("codec.pth", SIZE, SIZE)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_cut_connection_goes_on_where_it_stopped(
    hub: Hub, tmp_path: Path, reset: bool
) -> None:
    hub.cuts, hub.reset = [SOME, 50_000], reset
    (path,) = fetch_published(tmp_path, only=["coarse"])
    assert path.read_bytes() == FILES["coarse.pth"]
    assert [seen.range for seen in hub.downloads()] == [
        None,
        f"bytes={SOME}-",
        f"bytes={SOME + 50_000}-",
    ]


def test_next_run_goes_on_where_a_lost_one_stopped(
    hub: Hub, tmp_path: Path, impatient: None
) -> None:
    hub.cuts = [SOME, 0]
    with pytest.raises(EnvironmentLacksError, match=f"{SOME} of {SIZE} bytes.*are kept"):
        fetch_published(tmp_path, only=["coarse"])
    assert not (tmp_path / "coarse.pth").exists()
    hub.requests.clear()
    (path,) = fetch_published(tmp_path, only=["coarse"])
    assert [seen.range for seen in hub.downloads()] == [f"bytes={SOME}-"]
    assert path.read_bytes() == FILES["coarse.pth"]
    assert entries(tmp_path) == ["coarse.pth"]


def test_next_run_goes_on_where_a_killed_one_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.cuts, hub.stall = [SOME], True
    code = (
        "import sys, pathlib; from vampnet_onnx.configs.hub.published import fetch_published\n"
    )
    code += "fetch_published(pathlib.Path(sys.argv[1]), only=['codec'])"
    env = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        env=env,
        cwd=Path(__file__).parents[3],
    )
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size == SOME for part in tmp_path.glob("out/.codec*.part")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    hub.stall = False
    (path,) = fetch_published(tmp_path / "out", only=["codec"])
    assert [seen.range for seen in hub.downloads()] == [None, f"bytes={SOME}-"]
    assert path.read_bytes() == FILES["codec.pth"]


def test_server_without_ranges_starts_over(hub: Hub, tmp_path: Path) -> None:
    hub.cuts, hub.ranges = [SOME], False
    (path,) = fetch_published(tmp_path, only=["coarse"])
    assert path.read_bytes() == FILES["coarse.pth"]


def test_partial_file_of_another_version_is_not_continued(
    hub: Hub, tmp_path: Path, impatient: None
) -> None:
    hub.cuts = [SOME, 0]
    with pytest.raises(EnvironmentLacksError, match="are kept"):
        fetch_published(tmp_path, only=["c2f"])
    hub.files["c2f.pth"] = random.Random("new").randbytes(SIZE)
    (path,) = fetch_published(tmp_path, only=["c2f"])
    assert hub.downloads()[-1].range is None
    assert path.read_bytes() == hub.files["c2f.pth"]
    assert entries(tmp_path) == ["c2f.pth"]


def test_corrupt_content_is_refused_and_nothing_is_left(hub: Hub, tmp_path: Path) -> None:
    hub.corrupt = {"coarse.pth"}
    with pytest.raises(
        InputError, match=r"coarse\.pth: .*expected \w{64}, got \w{64}"
    ) as info:
        fetch_published(tmp_path)
    assert hub.digest("coarse.pth") in str(info.value)
    assert "again" in str(info.value)
    assert entries(tmp_path) == ["codec.pth"]


def test_small_file_is_checked_by_its_git_hash(hub: Hub, tmp_path: Path) -> None:
    hub.small = {"codec.pth"}
    (path,) = fetch_published(tmp_path, only=["codec"])
    hub.requests.clear()
    fetch_published(tmp_path, only=["codec"])
    assert not hub.downloads()
    path.unlink()
    hub.corrupt = {"codec.pth"}
    with pytest.raises(InputError, match=r"expected \w{40}, got \w{40}"):
        fetch_published(tmp_path, only=["codec"])
    assert not entries(tmp_path)


def test_finetuned_pair_is_laid_out_as_the_published_set(hub: Hub, tmp_path: Path) -> None:
    paths = fetch_published(tmp_path, finetuned="opera")
    assert paths == [tmp_path / name for name in NAMES]
    sources = ["codec.pth", "loras/opera/coarse.pth", "loras/opera/c2f.pth"]
    assert [path.read_bytes() for path in paths] == [FILES[source] for source in sources]
    assert fetch_published(tmp_path / "b", finetuned="bees", only=["c2f"]) == [
        tmp_path / "b" / "c2f.pth"
    ]


@pytest.mark.parametrize("only", [(), ("c2f",)])
def test_unknown_finetuned_name_lists_those_there_are(
    hub: Hub, tmp_path: Path, only: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as info:
        fetch_published(tmp_path / "out", finetuned="oprea", only=only)
    assert "'oprea' (did you mean 'opera'?); it has bees, opera" in str(info.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "..", "../..", "a/b", "a\\b"])
def test_finetuned_name_is_one_folder(hub: Hub, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="it has bees, opera"):
        fetch_published(tmp_path, finetuned=name)


def test_unknown_name_on_a_hub_that_lists_nothing(hub: Hub, tmp_path: Path) -> None:
    hub.refusals["api"] = (403, "")
    with pytest.raises(InputError, match="no fine-tuned pair 'x', nor can"):
        fetch_published(tmp_path, finetuned="x")


def test_half_a_pair_names_the_missing_file(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no loras/half/c2f\.pth"):
        fetch_published(tmp_path / "out", finetuned="half")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("status", "code", "error", "says"),
    [
        (404, "EntryNotFound", InputError, "holds no c2f.pth"),
        (404, "", InputError, "holds no c2f.pth"),
        (404, "RepoNotFound", InputError, "check the repository's name"),
        (404, "RevisionNotFound", InputError, "no revision 'main'"),
        (401, "", InputError, "HF_TOKEN"),
        (401, "RepoNotFound", InputError, "HF_TOKEN"),
        (403, "GatedRepo", InputError, "accept its terms"),
        (418, "", InputError, "HTTP 418"),
        (503, "", EnvironmentLacksError, "busy or down"),
    ],
)
def test_refusals_say_what_to_do(
    hub: Hub, tmp_path: Path, status: int, code: str, error: type[Exception], says: str
) -> None:
    hub.refusals["c2f.pth"] = (status, code)
    with pytest.raises(error, match=says) as info:
        fetch_published(tmp_path / "out")
    assert "\n" not in str(info.value)
    assert not (tmp_path / "out").exists()


def test_unknown_repository_and_revision(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nobody/nothing on http"):
        fetch_published(tmp_path, repo="nobody/nothing")
    with pytest.raises(InputError, match="not a repository's id"):
        fetch_published(tmp_path, repo="a/b/c")
    with pytest.raises(InputError, match="no revision 'v9'"):
        fetch_published(tmp_path, revision="v9")
    assert fetch_published(tmp_path, revision=COMMIT, only=["codec"])


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"X-Repo-Commit": None}, "not as a model hub"),
        ({"ETag": '"1-2"', "X-Linked-Etag": None}, "no usable hash"),
    ],
)
def test_answers_that_are_not_a_hubs_are_refused(
    hub: Hub, tmp_path: Path, headers: dict[str, str | None], says: str
) -> None:
    hub.headers = headers
    with pytest.raises(InputError, match=says):
        fetch_published(tmp_path)
    assert not hub.downloads()


def test_token_goes_to_the_hub_and_not_to_its_storage(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serve(Hub("storage/only", FILES, cuts=[SOME])) as storage:
        hub.cdn = storage.url
        (path,) = fetch_published(tmp_path, only=["codec"])
        assert path.read_bytes() == FILES["codec.pth"]
        assert {seen.authorization for seen in hub.requests} == {"Bearer hf_secret"}
        assert [(seen.range, seen.authorization) for seen in storage.requests] == [
            (None, None),
            (f"bytes={SOME}-", None),
        ]


def test_unreachable_hub_is_told_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}/")
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(
        EnvironmentLacksError, match=rf":{port}: cannot be reached.*HF_ENDPOINT"
    ):
        fetch_published(tmp_path / "out")
    assert pauses == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "endpoint", ["nonsense", "ftp://host", "http://h:port", "http://[1", "http://1.2.3.999"]
)
def test_endpoint_that_is_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(InputError, match="HF_ENDPOINT"):
        fetch_published(tmp_path)


def test_token_that_cannot_be_sent(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_é")
    with pytest.raises(InputError, match="HF_TOKEN"):
        fetch_published(tmp_path)


def test_offline_switch(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentLacksError, match="HF_HUB_OFFLINE"):
        fetch_published(tmp_path)


def test_folder_that_cannot_be_written(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "codec.pth").mkdir(parents=True)
    for out in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "taken"):
        with pytest.raises(InputError, match=str(out)):
            fetch_published(out)
    assert not hub.downloads()


def test_too_little_room_is_told_before_the_download(hub: Hub, tmp_path: Path) -> None:
    hub.headers = {"X-Linked-Size": str(1 << 60)}
    with pytest.raises(InputError, match="the disk has only"):
        fetch_published(tmp_path)
    assert not hub.downloads()
    assert not entries(tmp_path)


def test_full_disk_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SOME, hard))
    try:
        with pytest.raises(InputError, match=r"codec\.pth: the disk is full"):
            fetch_published(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not entries(tmp_path)
