"""Folders of checkpoints: any subset that fits, LoRA files, each opened once a run."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.checkpoint_files import (
    Calls,
    content_of,
    copy_of,
    count_readings,
    lora_of,
    refusal,
    saved,
)
from tests.support.sets import NANO
from vampnet_onnx.configs import manifest as recording
from vampnet_onnx.models import Checkpoints, lora_owner, open_models
from vampnet_onnx.models.checkpoints import checkpoint as reading
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_file


@pytest.mark.parametrize("rank", [8, 3])
def test_a_lora_file_is_known_to_belong_to_a_transformer_by_its_shapes(
    nano: Path, tmp_path: Path, rank: int
) -> None:
    overlay = {
        key: (value[:rank] if key.endswith("lora_A") else value[:, :rank]).clone()
        for key, value in lora_of(nano).items()
    }
    assert lora_owner(nano, saved(overlay, tmp_path / "lora.pth")) == "coarse"


def test_a_lora_file_that_fits_no_transformer_or_both_needs_a_name(
    nano: Path, tmp_path: Path
) -> None:
    overlay = lora_of(nano)
    path = saved(overlay, tmp_path / "lora.pth")
    alike = copy_of(nano, tmp_path / "alike")
    (alike / "c2f.pth").unlink()
    kwargs = {**NANO["c2f"], "embedding_dim": 21, "n_heads": 3}
    write_random_file(alike / "c2f.pth", kwargs, seed=0)
    said = refusal(path, lambda lora: lora_owner(alike, lora))
    assert "both" in said and "coarse=FILE" in said
    del overlay["transformer.layers.0.feed_forward.w_2.lora_B"]
    said = refusal(saved(overlay, path), lambda lora: lora_owner(nano, lora))
    assert "none" in said and "coarse=FILE" in said


def test_a_lora_file_for_a_model_that_is_not_there_is_refused(
    nano: Path, tmp_path: Path
) -> None:
    folder = copy_of(nano, tmp_path / "set")
    (folder / "coarse.pth").unlink()
    (folder / "c2f.pth").unlink()
    path = saved(lora_of(nano), tmp_path / "style.pth")
    message = refusal(path, lambda lora: open_models(folder, lora={"coarse": lora}))
    assert "a LoRA file was given for coarse" in message


def test_a_lora_file_is_among_the_sources(nano: Path, tmp_path: Path) -> None:
    path = saved(lora_of(nano), tmp_path / "style.pth")
    found = open_models(nano, lora={"coarse": path})
    names = [source.name for source in found.sources]
    assert names == ["codec.pth", "coarse.pth", "style.pth", "c2f.pth"]


@pytest.mark.parametrize(
    "present",
    [
        ("codec",),
        ("coarse",),
        ("c2f",),
        ("codec", "coarse"),
        ("codec", "c2f"),
        ("coarse", "c2f"),
        ("codec", "coarse", "c2f"),
    ],
)
def test_a_folder_may_hold_any_subset(
    nano: Path, tmp_path: Path, present: tuple[str, ...]
) -> None:
    for name in present:
        shutil.copy(nano / f"{name}.pth", tmp_path)
    found = open_models(tmp_path)
    assert Checkpoints(tmp_path).present == list(present)
    assert (found.codec is not None) == ("codec" in present)
    assert set(found.transformers) == set(present) - {"codec"}
    assert [source.name for source in found.sources] == [f"{name}.pth" for name in present]


def test_an_empty_folder_names_what_was_looked_for_and_the_way_out(tmp_path: Path) -> None:
    message = refusal(tmp_path, open_models)
    assert "none of codec.pth, coarse.pth, c2f.pth" in message and "fetch" in message


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere", open_models)
    (tmp_path / "file").touch()
    assert "a file, not a folder of checkpoints" in refusal(tmp_path / "file", open_models)
    refusal(tmp_path / ("x" * 300), open_models)


@pytest.mark.parametrize(
    "name, changed, words",
    [
        ("coarse", {"vocab_size": 13}, "vocab_size 13 against codebook_size 11"),
        ("coarse", {"latent_dim": 4}, "latent_dim 4 against codebook_dim 5"),
        ("c2f", {"n_codebooks": 4}, "4 codebooks against 3"),
        ("codec", {"codebook_dim": [5, 6, 5]}, "latent_dim 5 against codebook_dim 5, 6"),
        ("codec", {"codebook_size": 12}, "vocab_size 11 against codebook_size 12"),
        ("c2f", {"n_conditioning_codebooks": 1}, "they are not a pair"),
        ("coarse", {"n_codebooks": 1}, "they are not a pair"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_files_that_do_not_fit_each_other_are_refused(
    nano: Path, tmp_path: Path, name: str, changed: dict[str, Any], words: str
) -> None:
    folder = copy_of(nano, tmp_path / "set")
    write_random_file(folder / f"{name}.pth", NANO[name] | changed, seed=1)
    assert words in refusal(folder, open_models)


def test_a_bad_transformer_is_refused_even_where_only_the_codec_is_wanted(
    nano: Path, tmp_path: Path
) -> None:
    folder = copy_of(nano, tmp_path / "set")
    (folder / "c2f.pth").write_bytes(b"")
    assert "c2f.pth" in refusal(folder, lambda path: open_models(path, only=()))


# Opened once a run.


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return count_readings(monkeypatch)


@pytest.fixture
def folder(nano: Path, tmp_path: Path) -> Path:
    return copy_of(nano, tmp_path / "set")


@pytest.fixture
def lora(nano: Path, tmp_path: Path) -> Path:
    return saved(lora_of(nano), tmp_path / "style.pth")


def changed(path: Path) -> None:
    """Set another time of change, whatever the clock's resolution."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def test_a_file_is_hashed_once_and_its_weights_are_looked_at_once(
    folder: Path, lora: Path, calls: Calls
) -> None:
    checkpoints = Checkpoints(folder, {"coarse": lora})
    assert not calls["sha256"] and not calls["check_weights"]
    checkpoints.read_lora(checkpoints.lora["coarse"])
    for names in ((), ("coarse",), ("c2f",), ("coarse",), ("coarse", "c2f"), ()):
        checkpoints.models_for(names)
        checkpoints.models_for(names, merged=True)
    once = dict.fromkeys(["codec.pth", "coarse.pth", "c2f.pth", "style.pth"], 1)
    assert calls["sha256"] == calls["check_weights"] == once
    assert calls["unpickle"]["codec.pth"] == 2  # its dimensions, then its weights


def test_a_folder_is_opened_without_looking_at_weights(folder: Path, calls: Calls) -> None:
    content = content_of(folder, "c2f")
    content["state_dict"]["transformer.norm.weight"][0] = torch.nan
    saved(content, folder / "c2f.pth")
    checkpoints = Checkpoints(folder)
    assert checkpoints.present == ["codec", "coarse", "c2f"]
    assert checkpoints.models_for(["coarse"]).transformers.keys() == {"coarse"}
    assert calls["check_weights"].keys() == {"codec.pth", "coarse.pth"}
    for _ in range(2):  # what was found unfit once has not been checked
        assert "NaN" in refusal(folder, lambda _: checkpoints.models_for(["c2f"]))


def test_transformers_are_given_back_before_others_are_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(folder)
    codec = checkpoints.models_for(["coarse"]).codec
    coarse = weakref.ref(checkpoints.models_for(["coarse"]).transformers["coarse"])
    assert coarse() is not None
    alive = []

    def read(path: Path, **given: bool) -> reading.Checkpoint:
        gc.collect()
        alive.append((path.name, coarse() is not None))
        return reading.read_checkpoint(path, **given)

    monkeypatch.setattr("vampnet_onnx.models.checkpoints.folder.read_checkpoint", read)
    found = checkpoints.models_for(["c2f"])
    assert alive == [("c2f.pth", False)] and found.codec is codec
    assert (
        checkpoints.models_for(["coarse", "c2f"]).transformers["c2f"]
        is (found.transformers["c2f"])
    )


def test_networks_that_are_let_go_are_opened_again_for_who_asks(folder: Path) -> None:
    checkpoints = Checkpoints(folder)
    found = checkpoints.models_for(["coarse"])
    held = [weakref.ref(network) for network in found.networks]
    del found
    checkpoints.let_go()
    gc.collect()
    assert len(held) == 2 and not any(network() for network in held)
    assert len(checkpoints.models_for(["coarse"]).networks) == 2


def test_merged_transformers_have_no_update_and_are_no_one_elses(folder: Path) -> None:
    checkpoints = Checkpoints(folder)
    plain = checkpoints.models_for(["coarse"])
    merged = checkpoints.models_for(["coarse"], merged=True)
    names = [
        {name for name, _ in models.transformers["coarse"].named_parameters()}
        for models in (plain, merged)
    ]
    assert names[1] == {name for name in names[0] if ".lora_" not in name} != names[0]
    assert (
        checkpoints.models_for(["coarse"]).transformers["coarse"]
        is not (merged.transformers["coarse"])
    )


def test_an_overlay_is_laid_over_its_transformer_alone(folder: Path, lora: Path) -> None:
    checkpoints = Checkpoints(folder, {"coarse": lora})
    names = [source.name for source in checkpoints.models_for(["c2f"]).sources]
    assert names == ["codec.pth", "c2f.pth"]
    models = checkpoints.models_for(["c2f", "coarse"])
    names = [source.name for source in models.sources]
    assert names == ["codec.pth", "coarse.pth", "style.pth", "c2f.pth"]
    key = "transformer.layers.0.feed_forward.w_2.lora_B"
    assert torch.equal(models.transformers["coarse"].get_parameter(key), lora_of(folder)[key])


USES: list[Callable[[Checkpoints], object]] = [
    lambda checkpoints: checkpoints.models_for(["coarse"]),
    lambda checkpoints: checkpoints.read_lora(checkpoints.lora["coarse"]),
    lambda checkpoints: [checkpoints.source(path) for path in checkpoints.lora.values()],
]


@pytest.mark.parametrize("again", range(3))
@pytest.mark.parametrize("first", range(3))
def test_an_overlay_that_changes_between_two_uses_is_refused(
    folder: Path, lora: Path, first: int, again: int
) -> None:
    checkpoints = Checkpoints(folder, {"coarse": lora})
    USES[first](checkpoints)
    changed(lora)
    assert "changed while it was in use" in refusal(lora, lambda _: USES[again](checkpoints))


@pytest.mark.parametrize("name", ["codec", "coarse"])
def test_a_checkpoint_that_changes_after_its_dimensions_were_read_is_refused(
    folder: Path, name: str
) -> None:
    checkpoints = Checkpoints(folder)
    changed(folder / f"{name}.pth")
    message = refusal(folder, lambda _: checkpoints.models_for(["coarse"]))
    assert message.startswith(str(folder / f"{name}.pth")) and "changed" in message


@pytest.mark.parametrize("name", ["codec", "coarse"])
def test_a_checkpoint_that_changes_while_its_network_is_kept_is_refused(
    folder: Path, name: str
) -> None:
    checkpoints = Checkpoints(folder)
    checkpoints.models_for(["coarse"])
    changed(folder / f"{name}.pth")
    assert "changed" in refusal(folder, lambda _: checkpoints.models_for(["coarse"]))


def test_a_file_that_is_replaced_while_it_is_hashed_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = recording.sha256

    def hashed(path: Path) -> str:
        found = original(path)
        changed(path)
        return found

    monkeypatch.setattr(recording, "sha256", hashed)
    assert "changed" in refusal(folder, lambda f: Checkpoints(f).models_for(()))


def test_weights_that_someone_changed_in_place_are_not_handed_out_again(folder: Path) -> None:
    """An oracle with the export's own changes in it would agree with the export."""
    checkpoints = Checkpoints(folder)
    codec = checkpoints.models_for(()).codec
    assert codec is not None
    checkpoints.models_for(())
    next(codec.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        checkpoints.models_for(["coarse"])


def test_a_copy_in_another_process_hashes_and_checks_nothing_again(
    folder: Path, calls: Calls
) -> None:
    checkpoints = Checkpoints(folder)
    given = checkpoints.models_for(["coarse"])
    before = {name: +counted for name, counted in calls.items()}
    data = pickle.dumps(checkpoints)
    assert len(data) < (folder / "codec.pth").stat().st_size
    found = pickle.loads(data).models_for(["coarse"])
    assert found.sources == given.sources
    assert found.codec is not given.codec
    for name in ("sha256", "check_weights"):
        assert calls[name] == before[name]
    changed(folder / "coarse.pth")
    assert "changed" in refusal(folder, lambda _: pickle.loads(data).models_for(["coarse"]))
