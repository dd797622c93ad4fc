"""The mask generator: options and noise to the mask of what is made anew."""

from dataclasses import fields
from typing import Any

import numpy as np
import torch

from vampnet_onnx.configs.config import Ties, VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.behaviour.mask_plan import MaskNoise, MaskPlan, compose_mask
from vampnet_onnx.verify.numbers import metrics

from .case import (
    Arrays,
    Case,
    Comparison,
    Computed,
    Outputs,
    Subject,
    every_setting,
    token_counts,
)
from .random import Random

Options = dict[str, object]

_BEAT_WIDTH = 5  # the most that the options below keep of a beat


class MaskGenerator(Subject):
    """Given the same draws, masks are equal or wrong."""

    names = ("mask_generator",)
    has_rounding = False
    untried = frozenset({"codes"})  # their shape alone counts
    settings = (
        "published",
        "cosine",
        "inpaint",
        "beyond",
        "onsets",
        "beats",
        "between",
        "or",
        "stretch",
        "everything",
    )

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Try every setting at every length and seed, batches in turn."""
        return every_setting(self, record, matrix)

    def codebooks(self, record: ComponentRecord) -> tuple[int]:
        """Return all of them: its options count in them."""
        return (record.dim("n_codebooks"),)

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make codes, every option and the noise; the setting says what is not as usual."""
        random, shape = Random(case.id), (case.batch, case.codebooks, case.length)
        _, books, frames = shape
        integers = (
            "prefix_frames",
            "suffix_frames",
            "periodic_prompt",
            "roll",
            "onset_mask_width",
            "beat_before",
            "beat_after",
            "n_conditioning_codebooks",
        )
        found: Options = {
            "codes": random.integers(shape, 1 << 10),
            "rand_mask_intensity": np.float32(1.0),
            "rand_mask_cosine": np.bool_(False),
            **dict.fromkeys(integers, np.int64(0)),
            "periodic_prompt_width": np.int64(1),
            "onset_frames": random.integers((frames // 9,), frames),
            "beat_frames": random.integers((frames // 12,), frames),
            "beat_dropout": np.float64(0.0),
            "beat_invert": np.bool_(True),
            "combine_or": np.bool_(False),
            "dropout": np.float64(0.0),
            "upper_codebook_mask": np.int64(books),
            "time_stretch_factor": np.int64(1),
            "uniform": random.unit(shape),
            "dropped_frames": random.integers((frames,), frames),
        }
        found |= _mask_options(random, books, frames)[case.setting]
        found["beat_uniform"] = random.unit((frames // 12, _BEAT_WIDTH))
        return {name: np.asarray(value) for name, value in found.items()}

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Compose the published mask."""
        names = {field.name for field in fields(MaskPlan)}
        chosen: dict[str, Any] = {n: v.tolist() for n, v in inputs.items() if n in names}
        lists = {n: tuple(v) for n, v in chosen.items() if isinstance(v, list)}
        noise = MaskNoise(
            uniform=torch.from_numpy(inputs["uniform"]),
            roll=int(inputs["roll"]),
            dropped=torch.from_numpy(inputs["dropped_frames"]),
            beats=torch.from_numpy(inputs["beat_uniform"]),
        )
        plan = MaskPlan(**(chosen | lists))
        mask = compose_mask(torch.from_numpy(inputs["codes"]), plan, noise)
        return Computed({"mask": mask.numpy()})

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Count what differs."""
        r, e = expected.outputs["mask"], export["mask"]
        differs = r != e
        message = ""
        if differs.any():
            where = tuple(int(i) for i in np.argwhere(differs)[0])
            message = f"first difference at {where}: reference {r[where]}, export {e[where]}"
        return Comparison(
            metrics={
                "codes_differing": float(differs.sum()),
                "relative_l2": metrics.relative_l2(r, e),
                **metrics.nonfinite(r, e),
            },
            quantity="mask",
            error=differs.any(axis=0).astype(np.float64),
            rows=[f"codebook {i}" for i in range(differs.shape[1])],
            unit="frames",
            of_codes=True,
            reference=r,
            export=e,
            tokens=token_counts(differs.transpose(1, 0, 2)),
            message=message,
        )


SUBJECTS = (MaskGenerator(),)


def _mask_options(random: Random, books: int, frames: int) -> dict[str, Options]:
    """Return what each setting changes of a mask that masks everything."""

    def number(below: int) -> np.ndarray:
        return random.integers((), below)

    period = number(9) + 2
    periodic: Options = {
        "periodic_prompt": period,
        "periodic_prompt_width": number(5),
        "roll": number(int(period)),
    }
    intensity: Options = {"rand_mask_intensity": random.unit(())}
    several: Options = {**intensity, **periodic, "dropout": np.float64(0.2)}
    onsets: Options = {"onset_mask_width": number(3) + 1}
    beats: Options = {
        "beat_before": number(3),
        "beat_after": number(3) + 1,
        "beat_dropout": np.float64(0.3),
    }
    kept: Options = {
        "n_conditioning_codebooks": number(books + 1),
        "upper_codebook_mask": number(books + 1),
    }
    return {
        "published": {**periodic, "upper_codebook_mask": np.int64(3)},
        "cosine": {**intensity, "rand_mask_cosine": np.bool_(True)},
        "inpaint": {"prefix_frames": number(frames + 1), "suffix_frames": number(frames + 1)},
        "beyond": {"prefix_frames": np.int64(frames + 3), "suffix_frames": np.int64(2)},
        "onsets": onsets,
        "beats": {**beats, **kept, "dropout": np.float64(0.2)},
        "between": {**several, **beats, "beat_invert": np.bool_(False)},
        "or": {**intensity, **onsets, **kept, "combine_or": np.bool_(True)},
        "stretch": {**several, **kept, "time_stretch_factor": number(3) + 2},
        "everything": {**several, **onsets, **beats},
    }
