"""Operations, counted from dimensions."""

from __future__ import annotations

from tests.support.exports import record_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.verify.bench.work import flops


def test_a_transformer_is_counted_product_by_product(nano_artifacts: Artifacts) -> None:
    record = record_of(nano_artifacts, "coarse")
    width, layers, frames = record.dim("embedding_dim"), record.dim("n_layers"), 7
    entries = record.dim("vocab_size") * record.dim("n_codebooks")
    latents = record.dim("n_codebooks") * record.dim("latent_dim")
    # q, k, v and out; a feed-forward of 4 widths and of 2; scores and what is mixed.
    layer = frames * (4 + 4 + 2) * width * width + 2 * frames * frames * width
    ends = frames * width * (latents + entries)
    assert flops(record, [(1, 2, frames)]) == 2 * (layers * layer + ends)


def test_a_codec_costs_in_proportion_to_its_frames_and_items(
    nano_artifacts: Artifacts,
) -> None:
    for name, shape in (("codec_encoder", (1, 1, 400)), ("codec_decoder", (1, 3, 100))):
        record = record_of(nano_artifacts, name)
        once = flops(record, [shape])
        assert once > 0
        assert flops(record, [(3, *shape[1:])]) == 3 * once
        assert flops(record, [(*shape[:2], 2 * shape[2])]) == 2 * once


def test_an_entry_by_latents_costs_what_the_one_by_codes_does(
    nano_artifacts: Artifacts,
) -> None:
    by_codes, by_latents = (record_of(nano_artifacts, name) for name in ("c2f", "c2f.latents"))
    width = by_latents.dim("n_codebooks") * by_latents.dim("latent_dim")
    assert flops(by_codes, [(2, 3, 9)]) == flops(by_latents, [(2, width, 9)])
