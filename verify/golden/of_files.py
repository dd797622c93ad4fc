"""Exported files held to a recorded set: what the pipeline computes of its cases."""

import numpy as np

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models.behaviour.torch_draws import TorchDraws
from vampnet_onnx.pipeline.steps.generate import generate
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.verify.sides.recorded import RecordedSet

from .check import Computed, Run


class PipelineRun(Run):
    """Artifacts made from a set's own checkpoints, held to it."""

    whole = False

    def __init__(
        self, recorded: RecordedSet, artifacts: Artifacts, runtime: Runtime | None = None
    ) -> None:
        """Take a set, the artifacts and what runs them.

        Raises:
            InputError: the artifacts were made from other checkpoints.
        """
        super().__init__(recorded)
        made_from = {source.sha256 for source in artifacts.manifest.sources}
        for path in sorted(recorded.folder.glob("*.pth")):
            if sha256(path) not in made_from:
                raise InputError(
                    f"{artifacts.folder}: was not made from {path}; export the set's own"
                    " checkpoints (vampnet-onnx export --checkpoint DIR)"
                )
        self.pipeline = VampPipeline(artifacts, runtime)


def _encode(run: PipelineRun, case: str) -> Computed:
    session = run.pipeline.components.session("codec_encoder")
    found = session.run({"audio": run.array(f"{case}/audio")})
    yield "latents", found["latents"]
    yield "codes", found["codes"]


def _decode(run: PipelineRun, case: str) -> Computed:
    codes = run.array(f"{case}/codes")
    session = run.pipeline.components.session("codec_decoder")
    yield "audio", session.run({"codes": codes})["audio"]
    yield from _decode_masked(run, case)


def _decode_masked(run: PipelineRun, case: str) -> Computed:
    found = run.pipeline.decode(run.array(f"{case}/codes"))
    yield "audio_by_interface", found


def _transformer(run: PipelineRun, case: str) -> Computed:
    model = run.pipeline.components.transformer(case.split("/")[0])
    yield "logits", model.logits(run.array(f"{case}/codes"))


def _preprocess(run: PipelineRun, case: str) -> Computed:
    audio, rate = run.array(f"{case}/audio"), int(run.array(f"{case}/sample_rate"))
    yield "output", run.pipeline.prepare(audio, rate).audio


def _generate(run: PipelineRun, case: str) -> Computed:
    seed, settings = run.generate_options(case)
    parts = run.pipeline.components
    mask = run.array(f"{case}/mask") if f"{case}/mask" in run.recorded else None
    tokens = generate(
        parts.transformer(case.split("/")[0].removeprefix("generate_")),
        parts.session("sampler"),
        run.array(f"{case}/start_tokens"),
        mask,
        settings=settings,
        noise=TorchDraws(seed).of_tokens(),
    )
    yield "tokens", tokens


def _vamp(run: PipelineRun, case: str) -> Computed:
    seed, settings = run.vamp_options(case)
    audio, rate = run.array(f"{case}/audio"), int(run.options(case)["sample_rate"])
    prepared = run.pipeline.prepare(np.asarray(audio, np.float32), rate)
    yield "codes", run.pipeline.encode(prepared)
    noise = TorchDraws(seed).of_tokens()
    made = run.pipeline.vamp(
        run.array(f"{case}/codes"), run.array(f"{case}/mask"), settings, noise=noise
    )
    yield "tokens", made.tokens
    yield "masked_tokens", made.masked_tokens
    yield "output_audio", run.pipeline.decode(made.tokens)


PipelineRun.kinds = {
    "encode": _encode,
    "decode": _decode,
    "decode_masked": _decode_masked,
    "coarse": _transformer,
    "c2f": _transformer,
    "preprocess": _preprocess,
    "generate_coarse": _generate,
    "generate_c2f": _generate,
    "vamp": _vamp,
}
