"""Reading a file: nothing in it runs, and a weight that is no finite float is refused."""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.checkpoint_files import LONGEST_MESSAGE, content_of, load, refusal, saved
from vampnet_onnx.configs.errors import InputError


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "codec.pth: no such file" in refusal(tmp_path / "codec.pth")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "codec.pth").mkdir()
    assert "not a file" in refusal(tmp_path / "codec.pth")


def test_a_name_too_long_for_the_file_system_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path / ("x" * 300 + ".pth"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"hello, I am text\n" * 9,
        b"PK\x03\x04",
        b"\x80",
        b"\x80\x02",
        b"\x00" * 999,
        b"\x89PNG\r\n\x1a\n",
        b'{"state_dict": {}}',
        b"(lp0\n",
        b"\xff" * 64,
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "codec.pth"
    path.write_bytes(data)
    assert "not a checkpoint" in refusal(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.5, 0.9, 0.99, 0.999])
def test_a_truncated_file_is_refused_as_truncated(
    nano: Path, tmp_path: Path, share: float
) -> None:
    data = (nano / "codec.pth").read_bytes()
    path = tmp_path / "codec.pth"
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refusal(path)


def test_a_zip_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "codec.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no tensors")
    assert "not a checkpoint" in refusal(path)


class _RunsCode:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["weight", "kwargs", "whole"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(
    nano: Path, tmp_path: Path, place: str, zipped: bool
) -> None:
    mark = tmp_path / "it-ran"
    bomb = _RunsCode(f"touch {mark}")
    content = content_of(nano, "codec")
    if place == "weight":
        content["state_dict"]["encoder.block.0.bias"] = bomb
    elif place == "kwargs":
        content["metadata"]["kwargs"]["sample_rate"] = bomb
    path = tmp_path / "codec.pth"
    torch.save(
        bomb if place == "whole" else content, path, _use_new_zipfile_serialization=zipped
    )
    message = refusal(path)
    assert "wants to run code" in message and "system" in message
    assert not mark.exists()


def test_a_bare_pickle_that_wants_to_run_code_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    path = tmp_path / "codec.pth"
    path.write_bytes(pickle.dumps(_RunsCode(f"touch {mark}")))
    refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize("key", [3, ("a", "b"), None])
def test_a_key_that_is_no_name_is_refused(nano: Path, tmp_path: Path, key: object) -> None:
    content = content_of(nano, "codec")
    content["state_dict"][key] = torch.zeros(1)
    assert "not float tensors" in refusal(saved(content, tmp_path / "codec.pth"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["codec", "coarse"])
def test_a_single_non_finite_weight_is_refused_by_name(
    nano: Path, tmp_path: Path, name: str, value: float
) -> None:
    content = content_of(nano, name)
    key = list(content["state_dict"])[7]
    content["state_dict"][key].view(-1)[-1] = value
    message = refusal(saved(content, tmp_path / f"{name}.pth"))
    assert f"NaN or infinite weights in {key};" in message


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(3, dtype=torch.bool),
        "text",
        None,
        3.5,
        [1.0],
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(3).to_sparse(),
        torch.empty(3, device="meta"),
    ],
    ids=["int", "bool", "text", "none", "number", "list", "complex", "sparse", "meta"],
)
def test_an_entry_that_is_no_float_tensor_is_refused_by_name(
    nano: Path, tmp_path: Path, value: object
) -> None:
    content = content_of(nano, "codec")
    content["state_dict"]["encoder.block.0.bias"] = value
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "not float tensors, stored in full: encoder.block.0.bias" in message


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_an_eight_bit_float_is_refused_by_name(
    nano: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    content = content_of(nano, "codec")
    content["state_dict"]["encoder.block.0.bias"] = torch.zeros(3).to(dtype)
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "not float tensors, stored in full: encoder.block.0.bias" in message


def test_a_tensor_that_claims_more_than_it_stores_is_refused(
    nano: Path, tmp_path: Path
) -> None:
    """One stored number expanded to 4 TB must not be spread out in memory."""
    content = content_of(nano, "codec")
    bomb = torch.zeros(1).expand(1 << 20, 1 << 20)
    content["state_dict"]["encoder.block.0.bias"] = bomb
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "stored in full: encoder.block.0.bias" in message


def test_a_double_too_large_for_a_float_is_refused_as_infinite(
    nano: Path, tmp_path: Path
) -> None:
    content = content_of(nano, "codec")
    content["state_dict"]["encoder.block.0.bias"] = torch.tensor(
        [1e300] * 3, dtype=torch.float64
    )
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "NaN or infinite weights in encoder.block.0.bias" in message


def test_a_weight_norm_direction_of_zeros_is_refused_by_name(
    nano: Path, tmp_path: Path
) -> None:
    content = content_of(nano, "codec")
    content["state_dict"]["encoder.block.0.weight_v"][1] = 0
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "rows of zeros in encoder.block.0.weight_v;" in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_load_as_float32_of_the_same_values(
    nano: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    content = content_of(nano, "codec")
    state = {key: value.to(dtype) for key, value in content["state_dict"].items()}
    content["state_dict"] = state
    assert state
    loaded = load(saved(content, tmp_path / "codec.pth")).state_dict()
    for key, value in state.items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.float()), key


def test_both_weight_norm_styles_for_one_weight_are_refused(
    nano: Path, tmp_path: Path
) -> None:
    content = content_of(nano, "codec")
    state = content["state_dict"]
    state["encoder.block.0.parametrizations.weight.original0"] = state[
        "encoder.block.0.weight_g"
    ]
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "both weight-norm styles hold encoder.block.0.weight_g" in message


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_never_raise_anything_but_a_refusal(
    nano: Path, tmp_path: Path, seed: int
) -> None:
    """Structure and pickle are hit as well as weights; a flipped weight may load."""
    original = (nano / "coarse.pth").read_bytes()
    start = original.find(b"data.pkl")
    draw = random.Random(seed)
    path = tmp_path / "coarse.pth"
    refused = 0
    for round_number in range(40):
        data = bytearray(original)
        # Every second round hits the pickle, which is a small part of the file.
        low, high = (start, start + 4000) if round_number % 2 else (0, len(data))
        for _ in range(draw.choice((1, 1, 2, 8))):
            data[draw.randrange(low, high)] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        try:
            load(path)
        except InputError as error:
            refused += 1
            assert len(str(error)) < LONGEST_MESSAGE
    assert refused > 10


@pytest.mark.parametrize("seed", range(2))
def test_pickles_of_nonsense_structure_never_raise_anything_but_a_refusal(
    nano: Path, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    values: list[Any] = [
        None,
        0,
        -1,
        "x",
        [],
        {},
        torch.zeros(0),
        torch.zeros(2, 2),
        (1,),
        b"x",
        torch.zeros((), dtype=torch.int8),
        float("inf"),
    ]
    for name in ("codec", "coarse"):
        for _ in range(25):
            content = content_of(nano, name)
            target = draw.choice(
                [
                    content,
                    content["metadata"],
                    content["metadata"]["kwargs"],
                    content["state_dict"],
                ]
            )
            target[draw.choice([*list(target)[:40], "new", 3])] = draw.choice(values)
            path = saved(content, tmp_path / f"{name}.pth")
            try:
                load(path)
            except InputError as error:
                assert len(str(error)) < LONGEST_MESSAGE
