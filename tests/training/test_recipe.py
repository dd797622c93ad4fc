"""The shipped recipe."""

from __future__ import annotations

from training import recipe as recipe_module
from training.recipe import LoraStage, load_recipe


def test_the_shipped_recipe_keeps_held_out_pieces_apart() -> None:
    recipe = load_recipe()
    used = [recipe.codec, recipe.coarse, recipe.c2f, recipe.lora, recipe.wavebeat]
    assert all(stage.clips <= recipe.first_held_out for stage in used)
    assert recipe.clip.seed >= recipe.first_held_out
    assert isinstance(recipe.lora, LoraStage) and recipe_module.load_recipe() == recipe
