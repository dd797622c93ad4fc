"""Wholes: several components at work, whose record is made here and read from no manifest."""

from collections.abc import Sequence

from vampnet_onnx.configs.manifest import ComponentRecord, FileRecord, Manifest


def parts_there(manifest: Manifest, names: Sequence[str]) -> list[ComponentRecord]:
    """Return the components of these names, with variants, that are there."""
    found = (manifest.component(name) for name in names)
    return [part for part in found if part is not None]


def generation_record(
    name: str, variant: str, parts: Sequence[ComponentRecord], needs: Sequence[str]
) -> ComponentRecord | None:
    """Return the record of whole generations; None if a part of them is missing.

    Args:
        parts: that are there, the coarse-to-fine model last.
        needs: names of those that must be: coarse, sampler, decoder and any others.
    """
    if [part.id for part in parts[: len(needs)]] != list(needs):
        return None
    coarse, decoder, fine = parts[0], parts[2], parts[len(needs) :]
    books, n_coarse = decoder.dim("n_codebooks"), coarse.dim("n_codebooks")
    return ComponentRecord(
        name=name,
        variant=variant,
        file=FileRecord(name=", ".join(p.file.name for p in parts), sha256="", size=0),
        inputs=(),
        outputs=(),
        opset=decoder.opset,
        dims={
            "n_codebooks": books,
            "codebook_size": decoder.dim("codebook_size"),
            "sample_rate": decoder.dim("sample_rate"),
            "hop_length": decoder.hop_length,
            "n_coarse": n_coarse,
            "n_fine": books - n_coarse if fine else 0,
        },
        passes=(),
    )
