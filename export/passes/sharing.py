"""A module's structure copied, its tensors not: what passes and watchers may change."""

import copy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def sharing_copy(module: M) -> M:
    """Copy a module's structure; parameters and buffers stay the same tensors.

    So what is done to the copy leaves the original as it is.
    """
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, dict(shared))
