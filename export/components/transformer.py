"""The transformers, coarse and coarse-to-fine: codes or latents to logits."""

from functools import partial

from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.names import (
    GENERATOR,
    TRANSFORMERS,
    entry_and_form,
    variant_of_file,
)
from vampnet_onnx.export.passes import (
    FoldCodebooksIntoEmbedding,
    FoldWeightNorm,
    MergeLoRA,
    PointwiseToLinear,
    TabulatePositionBias,
)
from vampnet_onnx.export.passes.fold_codebooks import CodesEmbedding
from vampnet_onnx.export.passes.sharing import sharing_copy
from vampnet_onnx.models import ModelSet, ResidualVectorQuantize, VampNet
from vampnet_onnx.models.networks.vampnet import CodebookEmbedding

from .component import (
    TRACE_BATCH,
    TRACE_FRAMES,
    Exporter,
    GeneratorComponent,
    Structure,
    TracedComponent,
    seeded_codes,
    seeded_normal,
    signature,
)
from .generator import generator

LATENTS = "latents"


class LatentsEmbedding(nn.Module):
    """Latents (float [B, C * width, T]) to the transformer's width (float [B, T, D])."""

    def __init__(self, embedding: CodebookEmbedding) -> None:
        super().__init__()
        self.out_proj = embedding.out_proj

    def forward(self, latents: Tensor) -> Tensor:
        """Project."""
        out: Tensor = self.out_proj(latents)
        return out.transpose(1, 2)


class Transformer(nn.Module):
    """Codes or latents to logits (float [B, V, T * P], time-major, codebook-minor).

    Attribute names are the published ones, so the module path kept on every node of the graph
    is the path a person finds in the checkpoint.
    """

    def __init__(self, model: VampNet, quantizer: ResidualVectorQuantize | None) -> None:
        """Take the parts of a model.

        Args:
            model: shared, and changed by passes that run on this module.
            quantizer: holds the codebook tables; None for the entry by latents.
        """
        super().__init__()
        self.embedding: nn.Module = (
            LatentsEmbedding(model.embedding)
            if quantizer is None
            else CodesEmbedding(model.embedding, quantizer)
        )
        self.transformer = model.transformer
        self.classifier = model.classifier

    def forward(self, inputs: Tensor) -> Tensor:
        """Predict logits."""
        x = self.transformer(self.embedding(inputs))
        logits: Tensor = self.classifier(x.transpose(1, 2))
        return logits


def example_codes(books: int, vocab: int) -> Tensor:
    """Return the codes that a transformer is tried on at export, the mask token among them."""
    return seeded_codes(books, vocab + 1)


def transformer_or_generator(
    name: str, models: ModelSet, variant: str = ""
) -> TracedComponent | GeneratorComponent:
    """Prepare a transformer, or the generator that is built around one."""
    if variant == GENERATOR:
        return generator(GENERATOR, transformer(name, models))
    return transformer(name, models, variant)


def transformer(name: str, models: ModelSet, variant: str = "") -> TracedComponent:
    """Prepare a transformer.

    Raises:
        InputError: it is not there, or the codec that it looks codes up in.
    """
    if name not in models.transformers:
        raise InputError(f"{models.folder}: no {name}.pth, which {name} is made from")
    model, codec = sharing_copy(models.transformers[name]), models.codec
    dims = model.dims
    variant = variant_of_file(variant)
    entry, form = entry_and_form(variant)
    if entry == LATENTS:
        width = dims.n_codebooks * dims.latent_dim
        quantizer = None
        example = seeded_normal(TRACE_BATCH, width, TRACE_FRAMES)
        given = signature(LATENTS, "float32", "batch", width, "frames")
    elif codec is None:
        raise InputError(
            f"{models.folder}: {name} looks codes up in the codec's tables, but there is no"
            " codec.pth; give it with --codec FILE, or export the entry by latents with"
            " --input latents"
        )
    else:
        quantizer = codec.quantizer
        example = example_codes(dims.n_codebooks, dims.vocab_size)
        given = signature("codes", "int64", "batch", dims.n_codebooks, "frames")
    folding = [] if quantizer is None else [FoldCodebooksIntoEmbedding()]
    return TracedComponent(
        name=name,
        variant=variant,
        module=Transformer(model, quantizer),
        passes=(
            *folding,
            FoldWeightNorm(),
            MergeLoRA(),
            TabulatePositionBias(),
            PointwiseToLinear(),
        ),
        example=(example,),
        inputs=(given,),
        outputs=(signature("logits", "float32", "batch", dims.vocab_size, "positions"),),
        dims=dims,
        structure=Structure(name, entry, None if codec is None else codec.dims, dims),
        form=form,
    )


EXPORTERS = tuple(
    Exporter(
        name,
        30 + i,
        partial(transformer_or_generator, name),
        checkpoint=name,
        variants=lambda inputs, rates, dims: [
            LATENTS if entry == LATENTS else "" for entry in inputs
        ],
        is_variant=lambda variant: (
            variant == GENERATOR or entry_and_form(variant)[0] in ("", LATENTS)
        ),
        is_traced=True,
    )
    for i, name in enumerate(TRANSFORMERS)
)
