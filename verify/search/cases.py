"""What a form is measured on: codes of a clip under masks, or drawn ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.pipeline.jobs import codes_of_file
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.verify.subjects.random import Random
from vampnet_onnx.verify.subjects.registry import subject_of

SHARES = (0.30, 0.70, 0.97)
"""Of the codes that a transformer predicts, masked: late, midway and early in a generation."""
FRAMES = 256
"""Of the clip, from its start, at most; 3 to 6 s."""

_NEEDED = ("codec_encoder", "audio_processor")


@dataclass(frozen=True)
class Inputs:
    """Where the codes come from.

    Attributes:
        codes: of a clip, int64 [codebooks, frames]; None where the version cannot encode.
        said: what they are, in words.
    """

    codes: np.ndarray | None
    said: str


@dataclass(frozen=True)
class Masked:
    """Codes with mask tokens, int64 [1, codebooks, frames], under a mask of this name."""

    mask: str
    codes: np.ndarray

    def drawn(self, record: ComponentRecord) -> np.ndarray:
        """Return which positions of the logits a token would be drawn at, bool.

        Logits are time-major, codebook-minor.
        """
        conditioning = record.dim("n_conditioning_codebooks", least=0)
        masked = self.codes[0, conditioning:] == record.dim("vocab_size")
        result: np.ndarray = masked.T.reshape(-1)
        return result


def clip_inputs(artifacts: Artifacts, clip: Path, *, say: Callable[[str], None]) -> Inputs:
    """Encode a clip with the version's own encoder.

    Raises:
        InputError: the clip is unfit, or the artifacts do not take its rate.
    """
    if any(artifacts.manifest.component(name) is None for name in _NEEDED):
        return Inputs(None, "codes at random, since this version cannot encode a clip")
    pipeline = VampPipeline(artifacts)
    codes = codes_of_file(pipeline, clip, str(clip), say=say).codes[0]
    return Inputs(codes[0], f"{clip.name}, sha256 {sha256(clip)[:16]}")


def cases_of(record: ComponentRecord, inputs: Inputs, seeds: Sequence[int]) -> list[Masked]:
    """Return the cases of a transformer: every mask with every seed.

    Of codes at random, those that verification tries, whose masks are their own.
    """
    books, vocab = record.dim("n_codebooks"), record.dim("vocab_size")
    conditioning = record.dim("n_conditioning_codebooks", least=0)
    if inputs.codes is None:
        subject = subject_of(record)
        tried = [subject.one_case(record, seed=seed, batch=1, frames=FRAMES) for seed in seeds]
        return [Masked(f"seed {c.seed}", subject.inputs(record, c)["codes"]) for c in tried]
    codes, found = inputs.codes[:books, :FRAMES], []
    for share in SHARES:
        for seed in seeds:
            random = Random(f"{record.name}/masked={share}/seed={seed}")
            masked = random.unit(codes.shape) < np.float32(share)
            masked[:conditioning] = False
            found.append(Masked(f"{share:.0%}", np.where(masked, vocab, codes)[None]))
    return found
