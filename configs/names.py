"""The names of the networks, as their checkpoint files have them."""

from __future__ import annotations

from typing import Literal, get_args

TransformerName = Literal["coarse", "c2f"]

CODEC = "codec"
TRANSFORMERS: tuple[str, ...] = get_args(TransformerName)
