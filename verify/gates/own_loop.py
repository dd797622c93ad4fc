"""A generator against the pipeline's own loop: the same seed has to give the same codes.

The loop runs the transformer's file and the sampler's, with noise by NumPy; the generator all
of that in one graph, at once and in slices.  Whatever differs is an error, however near a tie
it was: both run the same operators on the same numbers.
"""

from collections.abc import Iterable

import numpy as np

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.pipeline.steps.generate import generate
from vampnet_onnx.pipeline.steps.generator import generate_in_graph
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.version.components import Components, generator_id
from vampnet_onnx.pipeline.version.session import Opened
from vampnet_onnx.verify.subjects.case import Arrays, Case
from vampnet_onnx.verify.subjects.generator import settings_of

from .measured import Measured

_SLICE = 2  # steps; the pipeline's own slices are of one
_SAMPLER = "sampler"


def own_loop(
    artifacts: Artifacts,
    record: ComponentRecord,
    cases: Iterable[tuple[Case, Arrays]],
    runtime: Runtime,
) -> Measured:
    """Count the codes that a generator makes otherwise than the pipeline's own loop does.

    Args:
        cases: with their inputs.

    Returns:
        The count; of stream places that differ, one each.
    """
    needed = (record.name, _SAMPLER)
    lacking = [name for name in needed if artifacts.manifest.component(name) is None]
    if lacking:
        lacks = f"there is no {lacking[0]} to run the pipeline's own loop with"
        return Measured(0, doubt=lacks, unjudged=True)
    parts = Components(artifacts, Runtime(threads=runtime.threads))
    count, first = 0, ""
    for case, inputs in cases:
        for way, differing in _differing(parts, record.name, inputs):
            count += differing
            if differing and not first:
                first = f"{differing} codes differ {way} in {case.id}"
    return Measured(count, first)


def _differing(parts: Components, name: str, inputs: Arrays) -> list[tuple[str, int]]:
    """Count the codes that differ from the pipeline's own loop, by how they were made."""
    codes, mask, chosen = inputs["codes"], inputs["mask"], settings_of(inputs)

    def noise() -> PhiloxNoise:
        found = PhiloxNoise(int(inputs["seed"]))
        found.move_to(int(inputs["start"]))
        return found

    by_loop, by_steps = noise(), noise()
    wanted = generate(
        parts.transformer(name),
        parts.session(_SAMPLER),
        codes,
        mask,
        settings=chosen,
        noise=by_loop,
    )
    stepwise = generate_in_graph(
        parts.generator(name), codes, mask, settings=chosen, noise=by_steps
    )
    session = parts.session(generator_id(name))
    at_once, sliced = session.run(inputs), _sliced(session, inputs)
    places = (by_steps.place, int(at_once["end"]), int(sliced["end"]))
    ways = ("step by step", "at once", f"in slices of {_SLICE} steps")
    made = (stepwise, at_once["tokens"], sliced["tokens"])
    return [
        (way, int((wanted != tokens).sum()) + int(place != by_loop.place))
        for way, tokens, place in zip(ways, made, places, strict=True)
    ]


def _sliced(session: Opened, inputs: Arrays) -> Arrays:
    made, current, start = dict[str, np.ndarray](), inputs["current"], inputs["start"]
    for step in range(0, int(inputs["steps"]), _SLICE):
        made = session.run(
            {
                **inputs,
                "current": current,
                "start": start,
                "first_step": np.array(step, np.int64),
                "step_count": np.array(_SLICE, np.int64),
            }
        )
        current, start = made["next_codes"][-1], made["end"]
    return made
