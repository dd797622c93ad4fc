"""Manifest records of nano components and small matrices, without any export."""

from __future__ import annotations

from typing import Any

from tests.support.sets import GOLDEN, NANO
from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord, FileRecord, TensorSignature
from vampnet_onnx.models import open_models
from vampnet_onnx.verify.subjects.case import Arrays, Case
from vampnet_onnx.verify.subjects.registry import subject_of

DIMS: dict[str, dict[str, Any]] = {
    "codec": {**NANO["codec"], "codebook_dims": (5, 5, 5)},
    "coarse": NANO["coarse"],
    "c2f": NANO["c2f"],
}
_SIGNATURES: dict[str, tuple[tuple[str, str, Any], ...]] = {
    "codec_encoder": (("audio", "float32", ("batch", 1, "samples")),),
    "codec_decoder": (("codes", "int64", ("batch", "codebooks", "frames")),),
    "coarse": (("codes", "int64", ("batch", 2, "frames")),),
    "c2f": (("codes", "int64", ("batch", 3, "frames")),),
    "coarse.latents": (("latents", "float32", ("batch", 10, "frames")),),
}


def record(identifier: str) -> ComponentRecord:
    """Return the manifest's entry of a nano component."""
    name, _, variant = identifier.partition(".")
    dims = DIMS["codec" if name.startswith("codec") else name]
    return ComponentRecord(
        name=name,
        variant=variant,
        file=FileRecord(name=f"{identifier}.onnx", sha256="0" * 64, size=1),
        inputs=tuple(
            TensorSignature(name=n, dtype=d, shape=s) for n, d, s in _SIGNATURES[identifier]
        ),
        outputs=(),
        opset=20,
        dims={
            k: tuple(v) if isinstance(v, list) else v
            for k, v in dims.items()
            if isinstance(v, (int, tuple, list))
        },
        passes=(),
    )


def matrix(**changed: list[int]) -> VerifySection:
    values = {"seeds": [0, 1], "frames": [1, 13], "batches": [1, 3], "threads": 1}
    return VerifySection(**(values | changed))  # type: ignore[arg-type]


def cases_for(component: ComponentRecord, chosen: VerifySection) -> list[Case]:
    return subject_of(component).cases(component, chosen)


def make_inputs(case: Case, component: ComponentRecord) -> Arrays:
    return subject_of(component).inputs(component, case)


def component(name: str, variant: str = "") -> ComponentRecord:
    models = open_models(GOLDEN / "a")
    assert models.codec is not None
    part = models.transformers.get(name, models.codec)
    facts = {"dims": vars(part.dims), "inputs": (), "outputs": ()}
    return ComponentRecord.model_construct(name=name, variant=variant, **facts)
