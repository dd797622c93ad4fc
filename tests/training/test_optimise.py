"""The learning rate."""

from __future__ import annotations

from tests.support.nano_recipe import STAGE
from training.optimise import rate_factor
from training.recipe import Stage


def test_the_learning_rate_rises_and_falls() -> None:
    stage = Stage(**STAGE)
    factors = [rate_factor(step, stage) for step in range(stage.steps)]
    assert factors[0] == 0.2 and max(factors) == 1.0 and factors[-1] < 0.01
