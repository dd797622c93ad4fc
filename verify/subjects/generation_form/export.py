"""The export's side: the pipeline in a form, on the same excerpts and with the same noise."""

from collections.abc import Sequence

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.manifest import AdapterRecord, ComponentRecord
from vampnet_onnx.configs.names import BFLOAT16, FLOAT32
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.pipeline.steps.codec import encode_stream
from vampnet_onnx.pipeline.steps.streaming import joined
from vampnet_onnx.pipeline.steps.variation import vamp
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.verify.subjects.case import Arrays, OpenComponent, Outputs, RunExport

from .plan import NoiseOfEach, excerpts, mask_of, options


def generation_in_form(
    artifacts: Artifacts,
    record: ComponentRecord,
    *,
    adapters: Sequence[AdapterRecord] = (),
    runtime: Runtime | None = None,
    opened_by: OpenComponent | None = None,
) -> RunExport:
    """Return what generates in the form of a record, as `generate_in_torch` does.

    Args:
        opened_by: opens components in the place of the runtime.
    """
    form = record.variant  # of files; bf16 is what the runtime makes of those in float32
    variant = FLOAT32 if form == BFLOAT16 else form
    pipeline = VampPipeline(artifacts, runtime, variant=variant, opened_by=opened_by)
    parts = pipeline.components
    parts.use_adapters(adapters)

    def run(inputs: Outputs) -> Arrays:
        seeds, frames = [int(seed) for seed in inputs["seeds"]], int(inputs["frames"])
        whole = joined(encode_stream(parts, [inputs["audio"]]))
        codes = excerpts(whole, len(seeds), frames)
        made = vamp(
            codes,
            mask_of(codes, record.dim("n_coarse")),
            coarse=parts.transformer("coarse"),
            c2f=parts.transformer("c2f") if record.dim("n_fine", least=0) else None,
            sampler=parts.session("sampler"),
            codec=parts.codec,
            settings=options(len(seeds), frames, parts.codec),
            noise=NoiseOfEach(seeds),
        )
        return {"tokens": made.tokens, "audio": pipeline.decode(made.tokens)}

    return run
