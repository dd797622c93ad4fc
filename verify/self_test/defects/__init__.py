"""Defects to plant: every mistake we know how to make, and which module it is made in.

The harness is tested with them (`verify.self_test.run`): each must be caught by the default
gates, and the module must be named.
"""

from .attention import ATTENTION_DEFECTS
from .base import Defect, GraphDefect, ModuleDefect
from .codec import CODEC_DEFECTS
from .drawn import DRAWN_DEFECTS
from .graph import GRAPH_DEFECTS
from .transformer import TRANSFORMER_DEFECTS
from .wiring import WIRING_DEFECTS

ALL_DEFECTS: tuple[Defect, ...] = (
    *TRANSFORMER_DEFECTS,
    *ATTENTION_DEFECTS,
    *WIRING_DEFECTS,
    *CODEC_DEFECTS,
    *GRAPH_DEFECTS,
    *DRAWN_DEFECTS,
)

__all__ = ["ALL_DEFECTS", "Defect", "GraphDefect", "ModuleDefect"]
