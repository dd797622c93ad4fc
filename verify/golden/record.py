"""Recording a set with the published packages: `verify.sides.recorded` describes the format.

Inputs are ours and seeded, as those of verification (`verify.subjects.registry`); every output
is the packages'.  The kinds of cases, their names and parameters are those of the first sets,
so `verify.golden.check` reads both alike.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import publish_folder, require_place, staging_folder
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import CODEC, TRANSFORMERS
from vampnet_onnx.models import Checkpoints, CodecDims, ModelSet, VampNetDims
from vampnet_onnx.models.behaviour import masks
from vampnet_onnx.models.checkpoints.published_copy import published_copy
from vampnet_onnx.verify.sides.recorded import ARRAYS, PARAMETERS
from vampnet_onnx.verify.sides.upstream import Worker, open_worker
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.random import Random, made_audio
from vampnet_onnx.verify.subjects.registry import subject_of

# Seconds the models work on at a time: short, so that short clips have several chunks.
COARSE_CHUNK_S, C2F_CHUNK_S = 1.0, 0.4

_LENGTHS = ((1, 1), (2, 7), (1, 33), (1, 150))  # batch, frames
_STEPS = 60  # of a coarse generation
_FINE_STEPS = 30

_MASKS: dict[str, tuple[str, list[Any]]] = {
    "inpaint_5_7": ("inpaint", [5, 7]),
    "inpaint_0_0": ("inpaint", [0, 0]),
    "inpaint_4_0": ("inpaint", [4, 0]),
    "periodic_7_1": ("periodic_mask", [7, 1]),
    "periodic_5_3": ("periodic_mask", [5, 3]),
    "periodic_6_4": ("periodic_mask", [6, 4]),
    "periodic_0_1": ("periodic_mask", [0, 1]),
    "codebook_mask_2": ("codebook_mask", [2]),
    "codebook_mask_0": ("codebook_mask", [0]),
    "codebook_unmask_2": ("codebook_unmask", [2]),
    "time_stretch_3": ("time_stretch_mask", [3]),
}
_GENERATIONS: dict[str, dict[str, Any]] = {
    "default": {"_sampling_steps": 12},
    "cold": {"_sampling_steps": 6, "temperature": 0.5, "mask_temperature": 2.0},
    "cutoff": {"_sampling_steps": 8, "sample_cutoff": 0.4},
    "top_p": {"_sampling_steps": 5, "top_p": 0.8},
    "cfg": {"_sampling_steps": 4, "cfg_guidance": 2.0},
    "cutoff_edge": {"_sampling_steps": 4, "sample_cutoff": 0.5},
    "no_mask": {"_sampling_steps": 5},
    "batch": {"_sampling_steps": 4},
    "few_masked": {"_sampling_steps": 8},
    "cfg_batch": {"_sampling_steps": 3, "cfg_guidance": 1.5},
}
# Seconds of audio, and options.
_VAMPS: dict[int, tuple[float, dict[str, Any]]] = {
    3: (1.3, {"_sampling_steps": 4}),
    4: (2.6, {"_sampling_steps": 3, "temperature": 0.9, "mask_temperature": 8.0}),
    5: (0.8, {"_sampling_steps": 3, "time_stretch_factor": 2}),
    6: (0.7, {"_sampling_steps": 2, "feedback_steps": 2}),
    8: (0.6, {"_sampling_steps": 3, "batch_size": 2}),
    9: (1.4, {"_sampling_steps": 3}),
    10: (1.2, {"_sampling_steps": 3}),
}
# Sample rate (0: the codec's), channels, seconds, gain.  Silence, a peak, short audio.
_PREPARED = (
    (0, 1, 1.3, 1.0),
    (48000, 2, 0.9, 0.01),
    (22050, 1, 0.31, 1.0),
    (16000, 2, 1.7, 0.5),
    (0, 1, 0.8, 0.0),
    (0, 1, 1.1, 0.05),
)


def record_set(
    checkpoint: Path,
    output: Path,
    *,
    python: str | Path | None,
    codec: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _n, _d, _t: None,
) -> int:
    """Record every kind of case and write the set.

    Args:
        checkpoint: folder with codec, coarse and c2f; copied into the set.
        output: folder of the set, which must not exist.
        python: the interpreter that has the published packages; None for our own.
        codec: file of the codec, in place of the folder's own.

    Returns:
        How many cases were recorded.

    Raises:
        InputError: the checkpoints are incomplete, or the output exists.
        EnvironmentLacksError: the interpreter does not have the packages.
    """
    if output.exists():
        raise InputError(f"{output}: exists already and is never overwritten")
    require_place(output.parent)
    checkpoints = Checkpoints(checkpoint, codec=codec)
    if checkpoints.lora:
        raise InputError(
            f"{', '.join(map(str, checkpoints.lora.values()))}: no recorded set has a LoRA"
            " file laid over it"
        )
    models = checkpoints.models_for(TRANSFORMERS)
    if models.codec is None or len(models.transformers) < 2:
        raise InputError(f"{checkpoint}: a set needs codec.pth, coarse.pth and c2f.pth")
    chunks = (COARSE_CHUNK_S, C2F_CHUNK_S)
    with open_worker(python, checkpoints, chunk_seconds=chunks) as worker:
        recorder = _Recorder(worker, models, models.codec.dims)
        for done, record in enumerate(_KINDS):
            progress(record.__name__.strip("_").replace("_", " "), done, len(_KINDS))
            record(recorder)
        torch_version = str(worker.call("describe")["torch"])
    with staging_folder(output.parent) as staged:
        for name in (CODEC, *TRANSFORMERS):
            path, target = checkpoints.files[name], staged / f"{name}.pth"
            if published_copy(path, target, role=name) == path:
                shutil.copy(path, target)
        np.savez_compressed(staged / ARRAYS, **recorder.arrays)  # type: ignore[arg-type]
        text = json.dumps(recorder.header(output.name, torch_version), indent=1) + "\n"
        (staged / PARAMETERS).write_text(text, "utf-8")
        publish_folder(staged, output)
    return len({key.rpartition("/")[0] for key in recorder.arrays})


class _Recorder:
    """Collects arrays and parameters."""

    def __init__(self, worker: Worker, models: ModelSet, dims: CodecDims) -> None:
        self.worker = worker
        self.dims = dims
        self.transformers: dict[str, VampNetDims] = {
            name: model.dims for name, model in models.transformers.items()
        }
        self.arrays: dict[str, np.ndarray] = {}
        self.parameters: dict[str, Any] = {}

    def header(self, name: str, torch_version: str) -> dict[str, Any]:
        """Return what ``reference.json`` holds."""
        return {
            "set": name,
            "sample_rate": self.dims.sample_rate,
            "hop_length": self.dims.hop_length,
            "coarse_chunk_size_s": COARSE_CHUNK_S,
            "c2f_chunk_size_s": C2F_CHUNK_S,
            "torch": torch_version,
            "cases": self.parameters,
        }

    def keep(self, case: str, arrays: dict[str, np.ndarray]) -> None:
        """Record arrays of a case."""
        self.arrays.update({f"{case}/{name}": array for name, array in arrays.items()})

    def audio(self, seed: int, samples: int, channels: int = 1) -> np.ndarray:
        """Return seeded audio, float32 [1, channels, samples]."""
        random = Random(Case("codec_encoder", seed, channels, samples).id)
        return made_audio(random, channels, samples).transpose(1, 0, 2)

    def codes(self, seed: int, batch: int, frames: int, books: int) -> np.ndarray:
        """Return seeded codes without mask tokens, int64 [batch, books, frames]."""
        random = Random(Case("codec_decoder", seed, batch, frames, books).id)
        return random.integers((batch, books, frames), self.dims.codebook_size)

    def masked_codes(self, name: str, seed: int, batch: int, frames: int) -> np.ndarray:
        """Return seeded codes for a transformer, with mask tokens."""
        dims = dataclasses.asdict(self.transformers[name])
        # As much of a component's record as making inputs takes.
        record = ComponentRecord.model_construct(name=name, variant="", dims=dims)
        return subject_of(record).inputs(record, Case(name, seed, batch, frames))["codes"]

    def function(
        self,
        module: str,
        name: str,
        *arrays: np.ndarray,
        arguments: list[Any] | None = None,
        seed: int | None = None,
        **keywords: Any,
    ) -> tuple[np.ndarray, ...]:
        """Call a function of the packages."""
        found = self.worker.call(
            "function",
            dict(zip("xyz", arrays, strict=False)),  # as many as there are
            module=module,
            name=name,
            arguments=arguments or [],
            keywords=keywords,
            seed=seed,
        )
        return tuple(found[str(i)] for i in range(len(found)))

    def mask(self, name: str, x: np.ndarray, *arguments: Any, seed: int | None = None) -> Any:
        """Call a function of the packages' masks."""
        found = self.function("mask", name, x, arguments=list(arguments), seed=seed)
        return found[0].astype(np.int64)


def _encode(r: _Recorder) -> None:
    hop, rate = r.dims.hop_length, r.dims.sample_rate
    lengths = ((1, 3 * hop), (1, 7 * hop + 1), (1, 12 * hop - 1), (2, 23 * hop + hop // 2))
    for i, (batch, samples) in enumerate((*lengths, (1, int(1.3 * rate)))):
        audio = r.audio(i, samples, batch).transpose(1, 0, 2)
        r.keep(f"encode/{i}", {"audio": audio, **r.worker.call("encode", {"audio": audio})})


def _decode(r: _Recorder) -> None:
    for i, (batch, frames) in enumerate(((1, 1), (2, 5), (1, 31))):
        codes = {"codes": r.codes(i, batch, frames, r.dims.n_codebooks)}
        found = r.worker.call("decode", codes)
        by_interface = r.worker.call("interface_decode", codes)["audio"]
        r.keep(f"decode/{i}", {**codes, **found, "audio_by_interface": by_interface})
    for i, batch in enumerate((1, 2)):
        codes = {"codes": r.codes(10 + i, batch, 9, r.dims.n_codebooks)}
        # A time step masked in all codebooks, and one masked in the upper ones.
        codes["codes"][..., 5] = r.dims.codebook_size
        codes["codes"][:, r.dims.n_codebooks // 2 :, 8] = r.dims.codebook_size
        by_interface = r.worker.call("interface_decode", codes)["audio"]
        r.keep(f"decode_masked/{i}", {**codes, "audio_by_interface": by_interface})


def _logits(r: _Recorder) -> None:
    for name in r.transformers:
        for i, (batch, frames) in enumerate(_LENGTHS):
            codes = {"codes": r.masked_codes(name, i, batch, frames)}
            r.keep(f"{name}/{i}", {**codes, **r.worker.call("logits", codes, model=name)})


def _masks(r: _Recorder) -> None:
    z = r.codes(0, 2, 40, r.dims.n_codebooks)
    starts = {"codebook_mask": np.zeros_like(z), "codebook_unmask": np.ones_like(z)}
    found = {
        name: r.mask(function, starts.get(function, z), *arguments)
        for name, (function, arguments) in _MASKS.items()
    }
    r.keep("masks", {"z": z, **found})
    # Clicks at uneven distances: something to detect.
    clicks = 0.05 * r.audio(20, 40 * r.dims.hop_length)[0, 0]
    for frame in (6, 13, 27, 34):
        clicks[frame * r.dims.hop_length :][: r.dims.hop_length] *= 15
    for width in (1, 3):
        given = {"audio": clicks, "z": z}
        r.keep(
            f"onset_mask/{width}", {**given, **r.worker.call("onset_mask", given, width=width)}
        )
        r.parameters[f"onset_mask/{width}"] = {"width": width}


def _seeded_masks(r: _Recorder) -> None:
    z, second = r.arrays["masks/z"], r.dims.hop_length / r.dims.sample_rate
    busy = {
        "rand_mask_intensity": 0.8,
        "prefix_s": 4 * second,
        "suffix_s": 6.5 * second,
        "periodic_prompt": 5,
        "periodic_prompt_width": 3,
        "_dropout": 0.2,
        "upper_codebook_mask": 2,
        "ncc": 1,
    }
    rolled = {"period": 7, "width": 3, "random_roll": True}
    r.parameters["seeded_masks"] = {
        "random_03": {"r": 0.3},
        "linear_random_07": {"r": 0.7},
        "dropout_025": {"of": "periodic_mask(z, 7, 1)", "p": 0.25},
        "periodic_roll_7_3": rolled,
        "build_default": {},
        "build_busy": busy,
    }
    for seed in range(3):
        # Dropout draws on where the mask it is applied to has stopped.
        periodic = r.mask("periodic_mask", z, 7, 1, seed=seed)
        found = {
            "dropout_025": r.mask("dropout", periodic, 0.25),
            "random_03": r.mask("random", z, 0.3, seed=seed),
            "linear_random_07": r.mask("linear_random", z, 0.7, seed=seed),
            "periodic_roll_7_3": r.mask("periodic_mask", z, *rolled.values(), seed=seed),
        }
        for name, options in (("build_default", {}), ("build_busy", busy)):
            made = r.worker.call("build_mask", {"z": z}, arguments=options, seed=seed)
            found[name] = made["mask"]
        r.keep(f"seeded_masks/{seed}", found)


def _preprocess(r: _Recorder) -> None:
    for i, (rate, channels, seconds, gain) in enumerate(_PREPARED):
        rate = rate or r.dims.sample_rate
        audio = np.float32(gain) * r.audio(30 + i, int(seconds * rate), channels)
        if i == len(_PREPARED) - 1:
            audio[..., audio.shape[-1] // 2] = 0.9  # beyond 1 once the rest is loud enough
        found = r.worker.call("preprocess", {"audio": audio}, sample_rate=rate)
        r.keep(f"preprocess/{i}", {"audio": audio, "sample_rate": np.asarray(rate), **found})


def _sampling(r: _Recorder) -> None:
    batch, positions, entries = 2, 50, r.dims.codebook_size
    for seed in (0, 1):
        draw = r.codes(40 + seed, batch, positions, entries).transpose(0, 2, 1)
        # No two entries are equal: the order of ties is nobody's business.
        logits = 8 / entries * (draw + np.arange(entries) / (2 * entries)) - 4
        logits = logits.astype(np.float32)
        typicals = {"typical": (0.15, 8), "mass_09": (0.9, 1), "mass_03": (0.3, 2)}
        given: dict[str, Any] = {
            "seed": seed,
            "temperature": 0.8,
            "top_k": 5,
            "top_p": 0.6,
            "filters_temperature": 1.0,
            "remask_temperature": 7.875,
        }
        found = {"logits": logits, "num_to_mask": np.array([[17], [31]])}
        noise = r.worker.call("noise", shape=[batch, positions, entries], seed=seed)
        found |= {f"{name}_noise": array for name, array in noise.items()}

        def sample(given_logits: np.ndarray = logits, seed: int = seed, **options: Any) -> Any:
            return r.function(
                "modules.transformer",
                "sample_from_logits",
                given_logits,
                seed=seed,
                return_probs=True,
                **options,
            )

        found["tokens"], found["token_probs"] = sample(temperature=0.8)
        found["top_k_5_tokens"] = sample(temperature=1.0, top_k=5)[0]
        found["top_p_06_tokens"] = sample(temperature=1.0, top_p=0.6)[0]
        for name, (mass, least) in typicals.items():
            key = "typical_filtered" + ("" if name == "typical" else f"_{name}")
            named = "typical" if name == "typical" else key
            given[named] = {"mass": mass, "min_tokens": least}
            found[key] = r.function(
                "modules.transformer",
                "typical_filter",
                logits,
                typical_mass=mass,
                typical_min_tokens=least,
            )[0]
        found["remask"] = r.function(
            "modules.transformer",
            "mask_by_random_topk",
            found["num_to_mask"],
            found["token_probs"],
            np.array(7.875),
            seed=seed,
        )[0]
        r.keep(f"sampling/{seed}", found)
        r.parameters[f"sampling/{seed}"] = given


def _generate(r: _Recorder) -> None:
    n_coarse, fine = r.transformers["coarse"].n_codebooks, r.transformers["c2f"]
    for seed in (0, 7):
        tokens = r.codes(50 + seed, 2, _STEPS, n_coarse)
        prompted = _prompted(tokens[:1], 7, max(1, n_coarse // 2))
        few = np.zeros_like(prompted)
        few[:, -1, 10:14] = 1
        several = (r.codes(60 + seed, 2, _STEPS, n_coarse) % 16 > 2).astype(np.int64)
        for name, options in _GENERATIONS.items():
            both = name.endswith("batch")
            given = {"start_tokens": tokens if both else tokens[:1]}
            if name != "no_mask":
                given["mask"] = few if name == "few_masked" else several if both else prompted
            _one_generation(r, f"generate_coarse/{seed}/{name}", given, options, seed)
        tokens = r.codes(70 + seed, 1, _FINE_STEPS, fine.n_codebooks)
        half = r.codes(80 + seed, 1, _FINE_STEPS, fine.n_codebooks) % 2
        half[:, : fine.n_conditioning_codebooks] = 0
        start = f"generate_c2f/{seed}"
        given = {"start_tokens": tokens}
        _one_generation(r, f"{start}/default", given, {"_sampling_steps": 2}, seed)
        r.parameters[f"{start}/default"]["mask"] = None
        given = {"start_tokens": tokens, "mask": half}
        _one_generation(r, f"{start}/masked", given, {"_sampling_steps": 3}, seed)


def _one_generation(
    r: _Recorder, case: str, given: dict[str, np.ndarray], options: dict[str, Any], seed: int
) -> None:
    model = case.split("/")[0].removeprefix("generate_")
    found = r.worker.call("generate", given, model=model, arguments=options, seed=seed)
    r.keep(case, {**given, **found})
    r.parameters[case] = {**options, "seed": seed}


def _vamp(r: _Recorder) -> None:
    rate = r.dims.sample_rate
    for seed, (seconds, options) in _VAMPS.items():
        audio = r.audio(90 + seed, int(seconds * rate))
        codes = r.worker.call("interface_encode", {"audio": audio}, sample_rate=rate)["codes"]
        mask = _prompted(codes, 7, max(1, r.transformers["coarse"].n_codebooks // 2))
        if seed == 9:  # a first chunk that keeps nothing
            mask[..., : int(COARSE_CHUNK_S * rate / r.dims.hop_length) + 1] = 1
        if seed == 10:  # fine codebooks that keep something
            mask = _prompted(codes, 3, codes.shape[1])
        given = {"codes": codes, "mask": mask}
        found = r.worker.call("vamp", given, arguments=options, seed=seed)
        r.keep(f"vamp/{seed}", {"audio": audio, **given, **found})
        r.parameters[f"vamp/{seed}"] = {**options, "seed": seed, "sample_rate": rate}


def _prompted(codes: np.ndarray, period: int, upper: int) -> np.ndarray:
    """Return a mask that keeps every so many steps of the codebooks below `upper`."""
    mask = masks.codebook_mask(masks.periodic_mask(torch.from_numpy(codes), period), upper)
    return mask.numpy()


_KINDS: tuple[Callable[[_Recorder], None], ...] = (
    _encode,
    _decode,
    _logits,
    _masks,
    _seeded_masks,
    _preprocess,
    _sampling,
    _generate,
    _vamp,
)
