"""The names of the networks, as their checkpoint files have them."""

from typing import Literal, get_args

TransformerName = Literal["coarse", "c2f"]

CODEC = "codec"
TRANSFORMERS: tuple[str, ...] = get_args(TransformerName)
