"""Artifacts that do not fit each other are refused, with what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.exports import export_to, without
from tests.support.pipeline_inputs import codes_for
from tests.support.sets import GoldenSet
from tests.support.versions import edit
from vampnet_onnx.configs.artifacts import open_artifacts, open_unhashed
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.machine import cores
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.components import Codec, Components
from vampnet_onnx.pipeline.version.session import Session


def test_a_rate_without_an_audio_processor_says_what_to_do(pipeline_a: VampPipeline) -> None:
    with pytest.raises(InputError, match=r"no audio_processor.from_11025; export one for"):
        pipeline_a.prepare(np.zeros((1, 1, 900), np.float32), 11025)


def test_a_missing_component_is_an_error_never_a_fallback(
    exported_a: Path, tmp_path: Path
) -> None:
    short = VampPipeline.open(without(exported_a, tmp_path / "v1", "c2f"))
    codes = codes_for(short)
    with pytest.raises(InputError, match=r"holds no c2f; export it .*--coarse-only"):
        short.vamp(codes, np.ones_like(codes), noise=PhiloxNoise(0))
    with pytest.raises(InputError, match="holds no c2f"):
        short.require()
    short.require(coarse_only=True)
    short.vamp(codes, np.ones_like(codes), noise=PhiloxNoise(0), coarse_only=True)


def test_a_file_of_another_model_is_refused_even_if_the_manifest_vouches_for_it(
    exported_a: Path, tmp_path: Path
) -> None:
    mixed = without(exported_a, tmp_path / "v1")
    data = (mixed / "coarse.onnx").read_bytes()
    foreign = data.replace(b"golden-a", b"golden-z")
    assert foreign != data
    (mixed / "coarse.onnx").write_bytes(foreign)
    with pytest.raises(InputError, match="not what the manifest vouches for"):
        VampPipeline.open(mixed).require()
    manifest = json.loads((mixed / "manifest.json").read_text())
    record = next(c for c in manifest["components"] if c["name"] == "coarse")
    record["file"]["sha256"] = sha256(mixed / "coarse.onnx")
    (mixed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"'golden-z'.* of two models are mixed"):
        VampPipeline.open(mixed).require()


@pytest.mark.parametrize(
    ("name", "dims", "says"),
    [
        ("coarse", {"vocab_size": 17}, "17 entries"),
        ("coarse", {"n_codebooks": 9}, "9 codebooks"),
        ("c2f", {"n_codebooks": 4}, "4 codebooks"),
        ("sampler", {"codebook_size": 5}, "one set"),
        ("codec_decoder", {"sample_rate": 5}, "one set"),
    ],
)
def test_parts_of_different_sets_are_refused(
    exported_a: Path, name: str, dims: dict[str, int], says: str
) -> None:
    opened = open_artifacts(exported_a)
    parts = tuple(
        c.model_copy(update={"dims": {**c.dims, **dims}}) if c.name == name else c
        for c in opened.manifest.components
    )
    changed = opened.manifest.model_copy(update={"components": parts})
    with pytest.raises(InputError, match=says):
        Components(replace(opened, manifest=changed))


def test_a_codec_gives_its_frames_by_the_published_rule() -> None:
    codec = Codec(sample_rate=44100, hop_length=768, n_codebooks=14, codebook_size=1024)
    assert [codec.frames_of(s) for s in (0.0, 1e-9, 3.0, 10.0)] == [0, 1, 173, 575]


@pytest.mark.parametrize(
    ("component", "change", "says"),
    [
        ("codec_decoder", lambda r: r["dims"].pop("sample_rate"), "has no number sample_rate"),
        (
            "codec_decoder",
            lambda r: r["dims"].update(decoder_rates=4),
            "no numbers decoder_rat",
        ),
        ("codec_decoder", lambda r: r["dims"].update(decoder_rates=[0]), "no numbers"),
        ("codec_decoder", lambda r: r["dims"].update(decoder_rates=[1 << 20] * 2), "a frame"),
        ("coarse", lambda r: r["dims"].update(vocab_size=-1), "vocab_size"),
        ("coarse", lambda r: r["dims"].update(vocab_size=1 << 40), "vocab_size"),
        ("coarse", lambda r: r["dims"].update(vocab_size="96"), "vocab_size"),
        ("coarse", lambda r: r["dims"].pop("vocab_size"), "coarse has no number vocab_size"),
        ("coarse", lambda r: r["dims"].update(n_layers=77), "coarse.onnx: says dims = "),
        ("coarse", lambda r: r.update(opset=21), "coarse.onnx: says opset = "),
        ("coarse", lambda r: r["inputs"].pop(), "coarse.onnx: is of codes int64"),
        ("codec_encoder", lambda r: r["facts"].clear(), "says facts = "),
        ("codec_encoder", lambda r: r["facts"].update(context_frames=[[1]]), "says facts = "),
    ],
)
def test_a_manifest_at_odds_with_its_files_is_refused(
    exported_a: Path,
    tmp_path: Path,
    component: str,
    change: Callable[[dict[str, Any]], object],
    says: str,
) -> None:
    folder = without(exported_a, tmp_path / "v1")

    def of_component(values: dict[str, Any]) -> None:
        change(next(r for r in values["components"] if r["name"] == component))

    edit(folder, of_component)
    with pytest.raises(InputError) as caught:
        VampPipeline.open(folder).require()
    assert says in str(caught.value)


def test_a_graph_that_does_not_run_is_named(exported_a: Path) -> None:
    session = Session(exported_a / "codec_decoder.onnx")
    with pytest.raises(InputError, match=r"codec_decoder\.onnx: does not run: "):
        session.run({"codes": np.full((1, 5, 2), 1 << 40)})


def test_a_component_opens_once_for_each_number_of_threads(exported_a: Path) -> None:
    parts = Components(open_artifacts(exported_a), Runtime(threads=2))
    one, all_of_them = parts.session("sampler", threads=1), parts.session("sampler")
    assert one is parts.session("sampler", threads=1)
    assert all_of_them is parts.session("sampler", threads=2) is not one
    assert parts.threads == 2
    assert Components(open_artifacts(exported_a)).threads == cores()


def test_a_form_is_used_when_it_is_asked_for_and_only_then(forms_a: Path) -> None:
    tokens = {}
    for variant in ("fp32", "int8", "fp16"):
        pipeline = VampPipeline.open(forms_a, variant=variant)
        pipeline.require()
        found = pipeline.components.transformer("coarse").session().path.name
        assert found == ("coarse.onnx" if variant == "fp32" else f"coarse.{variant}.onnx")
        codes = codes_for(pipeline)
        made = pipeline.vamp(codes, np.ones_like(codes), noise=PhiloxNoise(0))
        tokens[variant] = made.tokens
    assert not np.array_equal(tokens["fp32"], tokens["int8"])
    assert np.mean(tokens["fp32"] == tokens["fp16"]) > 0.9


def test_a_form_that_a_later_version_has_is_said_to_be_there(
    exported_a: Path, forms_a: Path, tmp_path: Path
) -> None:
    for name, folder in (("v1", exported_a), ("v2", forms_a)):
        (tmp_path / name).symlink_to(folder)
    with pytest.raises(InputError, match=r"v1: holds no .*int8; .*v2 does: name it, or"):
        VampPipeline.open(tmp_path / "v1", variant="int8")


def test_a_form_that_is_not_there_says_how_to_make_it(exported_a: Path) -> None:
    with pytest.raises(InputError, match=r"holds no coarse\.int8; .*--variants fp32,int8"):
        VampPipeline.open(exported_a, variant="int8")
    with pytest.raises(
        InputError, match="variant 'int9': there is none; known are fp32, int8"
    ):
        VampPipeline.open(exported_a, variant="int9")


def test_one_transformer_in_a_form_is_not_enough_where_both_are_in_float32(
    forms_a: Path, tmp_path: Path
) -> None:
    folder = forms_without(forms_a, tmp_path / "v1", "c2f.int8")
    with pytest.raises(InputError, match=r"holds no c2f\.int8"):
        VampPipeline.open(folder, variant="int8")
    VampPipeline.open(folder, variant="fp16")
    # Where the other is in no form at all there is coarse alone, as in float32.
    VampPipeline.open(forms_without(folder, tmp_path / "v2", "c2f."), variant="int8")


def forms_without(folder: Path, target: Path, *identifiers: str) -> Path:
    shutil.copytree(folder, target)

    def leave_out(values: dict[str, Any]) -> None:
        values["components"] = [
            c for c in values["components"] if f"{c['name']}.{c['variant']}" not in identifiers
        ]

    edit(target, leave_out)
    return target


# What is opened, and the file that lies where its own should.
SWAPPED = [
    ("coarse", "coarse.int8"),
    ("coarse.int8", "coarse"),
    ("coarse.int8", "coarse.fp16"),
    ("coarse.int8", "c2f.int8"),
    ("c2f.fp16", "c2f.int8"),
]


@pytest.mark.parametrize(("name", "other"), SWAPPED)
def test_a_file_in_the_place_of_another_form_is_refused(
    forms_a: Path, tmp_path: Path, name: str, other: str
) -> None:
    folder = tmp_path / "v1"
    shutil.copytree(forms_a, folder)
    shutil.copyfile(folder / f"{other}.onnx", folder / f"{name}.onnx")
    with pytest.raises(InputError, match=rf"{name}\.onnx.* not what the manifest vouches for"):
        opened(folder, name)
    vouch(folder, name)
    with pytest.raises(InputError, match=rf"{name}\.onnx: says (component|variant) = "):
        opened(folder, name)


@pytest.mark.parametrize("name", ["coarse.int8", "coarse.fp16"])
def test_a_form_that_is_cut_off_is_refused(forms_a: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "v1"
    shutil.copytree(forms_a, folder)
    file = folder / f"{name}.onnx"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(InputError, match=rf"{name}\.onnx.* not what the manifest vouches for"):
        opened(folder, name)
    vouch(folder, name)
    with pytest.raises(InputError, match=rf"{name}\.onnx"):
        opened(folder, name)


def test_weights_of_a_form_that_are_cut_off_or_of_another_are_refused(
    golden_a: GoldenSet, tmp_path: Path
) -> None:
    options = {"inputs": ("codes",), "rates": (), "components": ("coarse", "codec_encoder")}
    options |= {"variants": ("int8", "fp16"), "external_data": True}
    folder = export_to(tmp_path / "v1", golden_a.folder, **options).folder
    data = folder / "coarse.int8.onnx.data"
    whole = data.read_bytes()
    opened(folder, "coarse.int8")
    for wrong in (whole[:-64], (folder / "coarse.fp16.onnx.data").read_bytes()[: len(whole)]):
        data.write_bytes(wrong)
        with pytest.raises(InputError, match=r"int8\.onnx\.data.* not what the manifest"):
            opened(folder, "coarse.int8")
    data.write_bytes(whole[:-64])
    vouch(folder, "coarse.int8")
    with pytest.raises(InputError, match=r"coarse\.int8\.onnx"):
        opened(folder, "coarse.int8")


def opened(folder: Path, name: str) -> object:
    return Components(open_unhashed(folder)).session(name)


def vouch(folder: Path, name: str) -> None:
    """Let the manifest have the size and hash of a component's files as they are."""

    def renew(values: dict[str, Any]) -> None:
        for record in values["components"]:
            if ".".join(filter(None, (record["name"], record["variant"]))) == name:
                for file in filter(None, (record["file"], record.get("data"))):
                    path = folder / file["name"]
                    file.update(sha256=sha256(path), size=path.stat().st_size)

    edit(folder, renew)
