"""What each step of a generation settled, and how probable that was.

A step draws all masked codes and masks the least sure of them again; what it does not mask
again is settled.  All of it is in what goes into the sampler's graph and what comes out, so
who watches the sampler sees it, and nothing is recorded where nobody asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vampnet_onnx.pipeline.version.session import Graph

from .noise import Floats, Integers


def unwatched(sampler: Graph) -> Graph:
    """Return a sampler that nobody watches: itself."""
    return sampler


@dataclass(frozen=True)
class Settled:
    """When a model settled each code that it predicts.

    Attributes:
        steps: how many there were.
        step: number of the step, from 0, int64 [P, T]; -1 where the code was kept.
        log_probability: of the code that was drawn, after filters and temperature, float32
            [P, T]; NaN where it was kept.
    """

    steps: int
    step: Integers
    log_probability: Floats


@dataclass
class WatchedSampler:
    """The sampler's graph, and what it settled; of a batch, of the first item."""

    sampler: Graph
    made: list[Settled] = field(default_factory=list)  # one a generation

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph."""
        result = self.sampler.run(inputs)
        codes, step, steps = inputs["codes"][0], int(inputs["step"]), int(inputs["steps"])
        if step == 0:
            unknown = np.full(codes.shape, np.nan, np.float32)
            self.made.append(Settled(steps, np.full(codes.shape, -1), unknown))
        mask_token = inputs["logits"].shape[1]
        now = (codes == mask_token) & (result["next_mask"][0] == 0)
        gumbel = -np.log(-np.log(inputs["uniform"][0]))
        noise = inputs["mask_temperature"] * (1 - (step + 1) / steps) * gumbel
        sure = (result["confidence"][0] - noise).reshape(codes.shape[::-1]).T
        self.made[-1].step[now] = step
        self.made[-1].log_probability[now] = sure[now]
        return result


def joined_settled(chunks: Sequence[Settled], frames: int) -> Settled:
    """Join what was settled of chunks, one behind the other, cut to so many frames."""
    return Settled(
        chunks[0].steps,
        np.concatenate([chunk.step for chunk in chunks], axis=1)[:, :frames],
        np.concatenate([chunk.log_probability for chunk in chunks], axis=1)[:, :frames],
    )
