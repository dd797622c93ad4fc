"""What a generator takes beside codes: the options of a generation, by its inputs' names."""

from .settings import GenerationSettings, Mode, vamp_settings

Option = bool | int | float


def generator_options(settings: GenerationSettings) -> dict[str, Option]:
    """Return the options of a generation as values of a generator's inputs.

    An option that is off has the value that switches it off there.
    """
    return {
        "steps": settings.steps,
        "corrected": settings.mode is Mode.CORRECTED,
        "guided": settings.cfg_guidance is not None,
        "cfg_guidance": settings.cfg_guidance or 0.0,
        "temperature": settings.temperature,
        "mask_temperature": settings.mask_temperature,
        "sample_cutoff": settings.sample_cutoff,
        "top_k": settings.top_k or 0,
        "top_p": 1.0 if settings.top_p is None else settings.top_p,
        "typical_filtering": settings.typical_filtering,
        "typical_mass": settings.typical_mass,
        "typical_min_tokens": settings.typical_min_tokens,
    }


def generator_defaults(name: str) -> dict[str, Option]:
    """Return what a caller gives where nobody chose otherwise: one run of all steps.

    They are the published options, of ``c2f`` those that vamping passes on to it.
    """
    published = vamp_settings()
    options = generator_options(published.coarse if name == "coarse" else published.c2f)
    return {"first_step": 0, "step_count": options["steps"], "start": 0, **options}
