"""The loop that all networks are trained with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor, nn

from vampnet_onnx.configs.interrupts import Interrupted, dealt_with

from .recipe import Stage

_CLIP = 1.0  # norm of the gradient
NOTED = 25  # steps a point of the loss curve is the mean of

Progress = Callable[[int, int, float], None]


def device() -> torch.device:
    """Return where networks are trained: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rate_factor(step: int, stage: Stage) -> float:
    """Return the learning rate of a step from 0, as a fraction of its height."""
    if step < stage.warmup:
        return (step + 1) / stage.warmup
    done = (step - stage.warmup) / max(stage.steps - stage.warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * done))


def optimise(
    parameters: Mapping[float, Iterable[nn.Parameter]],
    loss: Callable[[int], Tensor],
    stage: Stage,
    *,
    progress: Progress,
) -> list[float]:
    """Minimise a loss with AdamW.

    Args:
        parameters: to be changed, by factor of the learning rate.
        loss: from the number of a step to a scalar that depends on them.
        stage: steps and learning rate.
        progress: told the steps done, the steps in all and the loss of late.

    Returns:
        The loss curve, each point the mean of 25 steps; of an interrupt, until then.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    groups = {factor: list(own) for factor, own in parameters.items()}
    trained = [parameter for own in groups.values() for parameter in own]
    optimiser = torch.optim.AdamW(
        [
            {"params": own, "lr": factor * stage.learning_rate}
            for factor, own in groups.items()
        ],
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: rate_factor(s, stage))
    curve: list[float] = []
    recent: list[float] = []
    try:
        for step in range(stage.steps):
            optimiser.zero_grad()
            value = loss(step)
            if not torch.isfinite(value):
                raise FloatingPointError(f"the loss is {value.item()} at step {step}")
            value.backward()
            nn.utils.clip_grad_norm_(trained, _CLIP)
            optimiser.step()
            schedule.step()
            recent.append(value.item())
            if len(recent) == NOTED or step == stage.steps - 1:
                curve.append(round(fmean(recent), 5))
                recent.clear()
                progress(step + 1, stage.steps, curve[-1])
    except Interrupted:
        dealt_with()
    return curve


def is_whole(curve: Sequence[float], stage: Stage) -> bool:
    """Return whether a loss curve is of all steps, so that nothing interrupted them."""
    return len(curve) == math.ceil(stage.steps / NOTED)
