"""What is in a file: PyTorch's format or safetensors, told from what is neither."""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.support.checkpoint_files import (
    LONGEST_MESSAGE,
    content_of,
    load,
    lora_of,
    refusal,
    saved,
)
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import lora_owner, read_checkpoint, read_lora

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1330114945\n"


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", ["empty", "get it again"]),
        (POINTER, ["Git-LFS pointer", "git lfs pull"]),
        (b"/annex/objects/SHA256E-s12--ab.pth\n", ["git-annex pointer", "git annex get"]),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", ["web page", "/resolve/"]),
        (b"\xef\xbb\xbf\r\n <HTML lang='en'>", ["web page", "vampnet-onnx fetch"]),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", ["web page"]),
        (gzip.compress(b"weights", mtime=0), ["gzip archive", "unpack"]),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", ["a note of macOS"]),
    ],
)
@pytest.mark.parametrize("name", ["codec.pth", "codec.safetensors"])
def test_a_file_of_another_kind_is_named_with_the_way_out(
    tmp_path: Path, name: str, data: bytes, words: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    said = refusal(path)
    assert str(path) in said and "not a checkpoint" in said
    assert all(word in said for word in words)


def test_archives_that_hold_no_checkpoint_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "codec.pth"
    for member, words in (
        ("LAC/.data/extern_modules", "torch package"),
        ("model/constants.pkl", "TorchScript"),
        ("set/codec.pth", "it holds set/codec.pth"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, "")
        assert words in refusal(path)


@pytest.mark.parametrize(
    "value, name",
    [
        (defaultdict(list), "a defaultdict (collections.defaultdict)"),
        (np.int64(3), "a NumPy value"),
        (np.float32(3), "a NumPy value"),
        (np.ones(2), "a NumPy value"),
        (Path("runs"), "a path"),
        (argparse.Namespace(lr=1), "options of argparse"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_harmless_object_in_metadata_is_named_and_the_command_printed_mends_it(
    nano: Path, tmp_path: Path, value: Any, name: str
) -> None:
    content = content_of(nano, "coarse")
    content["metadata"]["logs"] = value
    path = saved(content, tmp_path / "coarse.pth")
    said = refusal(path)
    assert name in said and "runs code" not in said
    if isinstance(value, np.int64):  # one is enough: a process takes seconds
        content["metadata"]["kwargs"]["n_layers"] = np.int64(1)
        path = saved(content, path)
        command = said.partition("python -c ")[2].replace("OLD.pth NEW.pth", '"$0" "$1"')
        mended = tmp_path / "mended.pth"
        shell = f"{sys.executable} -c {command}"
        subprocess.run(["sh", "-c", shell, str(path), str(mended)], check=True)
        found = read_checkpoint(mended).kwargs["n_layers"]
        assert found == 1 and type(found) is int


def test_a_lightning_checkpoint_and_a_lora_file_in_the_wrong_place_are_named(
    nano: Path, tmp_path: Path
) -> None:
    content = {"state_dict": {}, "pytorch-lightning_version": "2.0", "hyper_parameters": {}}
    assert "PyTorch Lightning" in refusal(saved(content, tmp_path / "coarse.pth"))
    said = refusal(saved(lora_of(nano), tmp_path / "coarse.pth"))
    assert "it is a LoRA file" in said and "--lora" in said
    said = refusal(saved({"optimizer": {}, "epoch": 3}, tmp_path / "coarse.pth"))
    assert "optimizer, epoch" in said


@pytest.mark.parametrize(
    "key, library",
    [
        ("base_model.model.transformer.layers.0.self_attn.w_qs.lora_A.weight", "PEFT"),
        ("transformer.layers.0.self_attn.w_qs.lora_B.default.weight", "PEFT"),
        ("base_model.model.transformer.layers.0.self_attn.w_ks.base_layer.weight", "PEFT"),
        ("lora_unet_layers_0_w_qs.lora_down.weight", "diffusers or kohya"),
        ("transformer.layers.0.self_attn.w_qs.lora.up.weight", "diffusers or kohya"),
        ("lora_te1_layers_0_w_qs.alpha", "diffusers or kohya"),
    ],
)
def test_keys_of_other_lora_libraries_are_named(
    nano: Path, tmp_path: Path, key: str, library: str
) -> None:
    bare = saved({key: torch.ones(2, 2)}, tmp_path / "style.pth")
    content = content_of(nano, "coarse")
    content["state_dict"][key] = torch.ones(2, 2)
    whole = saved(content, tmp_path / "coarse.pth")
    for said in (refusal(bare, lambda path: lora_owner(nano, path)), refusal(whole)):
        assert key in said and f"a key of {library}" in said and "multiply" in said


def as_safetensors(nano: Path, name: str, path: Path, **header: str) -> Path:
    save_file(content_of(nano, name)["state_dict"], path, header)
    return path


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", ["codec", "coarse"])
def test_safetensors_give_the_same_as_the_published_format(
    nano: Path, tmp_path: Path, name: str, nested: bool
) -> None:
    metadata = content_of(nano, name)["metadata"]
    text = json.dumps({"kwargs": metadata["kwargs"], "random_weights": True})
    kwargs = json.dumps(metadata["kwargs"])
    header = {"metadata": text} if nested else {"kwargs": kwargs, "random_weights": "True"}
    path = as_safetensors(nano, name, tmp_path / f"{name}.safetensors", **header)
    found, expected = read_checkpoint(path), read_checkpoint(nano / f"{name}.pth")
    assert found.kwargs == expected.kwargs
    assert found.label == expected.label == "random"
    assert found.state.keys() == expected.state.keys()
    assert all(torch.equal(found.state[key], expected.state[key]) for key in found.state)
    load(path)


def test_a_lora_file_of_safetensors_needs_no_header(nano: Path, tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    save_file({f"_orig_mod.{key}": value for key, value in lora_of(nano).items()}, path)
    assert lora_owner(nano, path) == "coarse"
    assert read_lora(path).prefix == "_orig_mod."


def test_a_header_without_usable_keywords_is_refused(nano: Path, tmp_path: Path) -> None:
    path = tmp_path / "codec.safetensors"
    assert "no 'kwargs'" in refusal(as_safetensors(nano, "codec", path, format="pt"))
    assert "no 'kwargs'" in refusal(as_safetensors(nano, "codec", path, kwargs="[1]"))
    said = refusal(as_safetensors(nano, "codec", path, kwargs="{'encoder_dim': 3}"))
    assert "'kwargs' in the header's metadata is no JSON" in said
    data = path.read_bytes()
    path.write_bytes(data[:-8])
    assert "truncated" in refusal(path)
    (tmp_path / "named.pth").write_bytes(data)
    assert "call it named.safetensors" in refusal(tmp_path / "named.pth")
    assert "no such file" in refusal(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("text", ["false", "no", "0"])
def test_a_header_may_say_that_weights_are_not_random(
    nano: Path, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "codec.safetensors"
    kwargs = json.dumps(content_of(nano, "codec")["metadata"]["kwargs"])
    as_safetensors(nano, "codec", path, kwargs=kwargs, random_weights=text)
    assert read_checkpoint(path).label == ""


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_safetensors_file_raises_nothing_but_a_refusal(
    nano: Path, tmp_path: Path, seed: int
) -> None:
    kwargs = json.dumps(content_of(nano, "codec")["metadata"]["kwargs"])
    path = as_safetensors(nano, "codec", tmp_path / "codec.safetensors", kwargs=kwargs)
    load(path)
    original, draw = path.read_bytes(), random.Random(seed)
    size = int.from_bytes(original[:8], "little")
    values = (None, -1, "x", [], {}, "F4", "BOOL", "C64", "F8_E4M3", 1e30, [0, 1 << 62])
    for round_number in range(40):
        data = bytearray(original)
        if round_number % 2:
            data[draw.randrange(8 + size)] ^= 1 << draw.randrange(8)
        else:
            header = json.loads(original[8 : 8 + size])
            entry = header[draw.choice(list(header))]
            entry[draw.choice(list(entry))] = draw.choice(values)
            text = json.dumps(header).encode()
            data = bytearray(len(text).to_bytes(8, "little") + text + original[8 + size :])
        path.write_bytes(data)
        try:
            load(path)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < LONGEST_MESSAGE
