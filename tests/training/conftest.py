"""A nano set that was trained for some seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.nano_recipe import TINY, nano_recipe, silent
from tests.support.once import made_once
from training import stages
from training.stages import STAGES, train_stage


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano set, trained for some seconds on pieces of a second."""

    def train(folder: Path) -> None:
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stages, "sizes", lambda: {"nano": TINY})
            for stage in STAGES:
                train_stage(folder, stage, nano_recipe(), progress=silent)

    return made_once(tmp_path_factory, "trained", train)
