"""Masked parallel decoding by one graph that holds the loop, the sampler and the noise.

The same tokens as `generate` makes of the same seed.  The graph runs a step at a time, so
that progress, an interrupt and the step in a message are what they are there.
"""

from collections.abc import Callable

import numpy as np

from vampnet_onnx.configs.generator import generator_options
from vampnet_onnx.configs.settings import GenerationSettings
from vampnet_onnx.pipeline.version.components import Generator

from .generate import (
    confidences_are_no_numbers,
    guidance_is_too_large,
    logits_are_not_finite,
    required_mask,
)
from .noise import Integers, PhiloxNoise


def generate_in_graph(
    model: Generator,
    codes: Integers,
    mask: Integers | None,
    *,
    settings: GenerationSettings,
    noise: PhiloxNoise,
    on_step: Callable[[], None] = lambda: None,
    where: str = "",
) -> Integers:
    """Generate the masked codes; see `generate`, whose arguments these are.

    Args:
        noise: says from which seed, and where in its stream, the graph takes its numbers; it
            is moved on to where a step ends.
    """
    mask = required_mask(model, codes, mask)
    session = model.session()
    options = {**generator_options(settings), "step_count": 1, "seed": noise.seed}
    kinds = {item.name: item.dtype for item in session.inputs}
    fixed = {name: np.array(value, kinds[name]) for name, value in options.items()}
    current, tokens = codes[:, model.n_conditioning_codebooks :], codes
    for step in range(settings.steps):
        made = session.run(
            {
                **fixed,
                "codes": codes,
                "mask": mask,
                "current": current,
                "first_step": np.array(step, np.int64),
                "start": np.array(noise.place, np.int64),
            }
        )
        noise.move_to(int(made["end"]))
        place = f"{model.name}: step {step + 1} of {settings.steps}{where}, {noise.name}"
        if made["bad_logits"] >= 0:
            raise logits_are_not_finite(place)
        if made["bad_guidance"] >= 0:
            raise guidance_is_too_large(place, settings)
        if made["bad_confidence"] >= 0:
            raise confidences_are_no_numbers(place, settings)
        on_step()
        current, tokens = made["next_codes"][-1], made["tokens"]
    return tokens
