"""The names of the networks, as their checkpoint files have them."""

from typing import Literal, get_args

TransformerName = Literal["coarse", "c2f"]

CODEC = "codec"
TRACKER = "wavebeat"
TRANSFORMERS: tuple[str, ...] = get_args(TransformerName)

Variant = Literal["fp32", "int8", "w8", "w4", "fp16"]
"""What a user calls a form of the transformers, float32 among them."""

FLOAT32, FLOAT16 = "fp32", "fp16"
FORMS: tuple[str, ...] = tuple(name for name in get_args(Variant) if name != FLOAT32)
"""Forms of a transformer beside float32: what its products are computed from."""

GENERATOR = "generator"
"""Variant of a transformer that is a whole generation: its loop, its sampler, its noise."""


BFLOAT16 = "bf16"
"""A form that is no file: what OpenVINO makes of a float32 one, if asked to."""


def entry_and_form(variant: str) -> tuple[str, str]:
    """Return what the variant of a transformer says: its entry and its form.

    Both are empty for the standard one: codes, in float32.
    """
    entry, _, form = variant.rpartition(".")
    return (entry, form) if form in (*FORMS, BFLOAT16) else (variant, "")


def variant_of(entry: str, form: str) -> str:
    """Return the variant of an entry in a form: the inverse of `entry_and_form`."""
    return ".".join(filter(None, (entry, form)))


def variant_of_file(variant: str) -> str:
    """Return the variant that a file has which is run as this one: bf16 is made of float32."""
    entry, form = entry_and_form(variant)
    return entry if form == BFLOAT16 else variant
