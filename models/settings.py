"""Options of masks, generation and vamping: those of `configs.settings`.

They live with the configuration because the pipeline takes the same options and must not
import what imports torch.
"""

from configs.settings import (
    GenerationSettings,
    MaskSettings,
    Mode,
    VampSettings,
    generation_settings,
    mask_settings,
    vamp_settings,
)

__all__ = [
    "GenerationSettings",
    "MaskSettings",
    "Mode",
    "VampSettings",
    "generation_settings",
    "mask_settings",
    "vamp_settings",
]
