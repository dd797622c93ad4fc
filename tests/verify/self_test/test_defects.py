"""The planted defects: which there are, and that a walk names the module they are made in.

Every defect is put through the gates and walked by ``vampnet-onnx self-test``, which takes
minutes, since each one costs an export.  Here one export holds several, so that every way of
planting is tried in every component.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.edited import replanted
from tests.support.sets import NETWORKS, GoldenSet
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.models import ModelSet
from vampnet_onnx.pipeline.version.session import Session
from vampnet_onnx.verify.causes.locate import locate
from vampnet_onnx.verify.self_test import defects
from vampnet_onnx.verify.self_test.defects import (
    FileDefect,
    GraphDefect,
    ModuleDefect,
    all_defects,
    base,
)
from vampnet_onnx.verify.self_test.run import chosen_defects, export_with
from vampnet_onnx.verify.subjects.registry import subject_of

NAMES = """
MissingFeedForwardNorm MissingAttentionNorm FinalNormLost NormEpsilonTenfold
ClassifierScrambled MaskRowsZero MaskClippedToLastEntry LoRAUnmerged LoRAUnscaled
StaleFoldedWeight ErfGelu GegluHalvesSwapped LayerDropped LayerDoubled
SquareMatrixTransposed EmbeddingCodebooksPermuted WeightOnePercentOff BiasSignFlipped
HalfPrecisionOverflow QuantisedScaleOffByAChannel ConstantLogits NaNForRareValues
MaskTokenSampleable ResidualLost ReluGate LayerNormForRMSNorm AttentionResidualLost
BranchesInParallel LayersInTurn LogitsCodebookMajor TablesOfTheNextCodebook
BiasInFirstLayerOnly BucketOffByOne BucketSidesSwapped ScoresUnscaled
InfinityHiddenBySoftmax BatchItemsMixed HeadsOfQueriesRolled ScoresScaledTwice
CausalMaskAdded BiasTransposed MaskTokenDecodedAsAnother OneChainMissing
UpsamplingCutOnTheOtherSide NormOverTheWrongAxis SnakeOfHalfTheFrequency ReflectedEdges
ResidualOfNormalisedRows EncoderDilationWrong DecoderDilationWrong PaddingOneSided
TanhLost SnakeWithoutReciprocal ChainsSummedNotAveraged EncoderResidualLost
UpsamplingShifted CodebookNotNormalised ResidualNotSubtracted DecoderCodebooksPermuted
LastCodebookMissing LengthFrozen HopPaddingOnTheLeft NaNAtOnePosition BiasNodeLost
SoftmaxOverQueries HeadsNotTransposed WeightsOfTwoLayersSwapped WeightRoundedToHalf
StrideWithoutPadding OutputDtypeChanged AxisNamedWrong AxisFrozen FilterForgets
GatesLeftOpen LoudestChannelTaken AnotherTarget PeaksPass PrefixOneTooLong RolledBackwards
UpperCodebooksFromOneLater BeatsInUpperCodebooks AlwaysAnd GumbelSubtracted CountRoundedUp
NoiseMultiplied
ThirdTakenAtATie NucleusTooWide RoundDropped StreamRestarted TemperatureOfTheLastStep
WeightsOfAnotherModel RowOfTheWrongSign RowOfNaN RowTooLoud
RowOfHalfPrecision ColumnOnePercentOff
DecoderBiasOnePercentOff ValuesOverflow OneEpsilonTenfold AllEpsilonsTooSmall
ScalesOfALayerDoubled ScalesFivePercentOff CollapseToTheBestToken
MeanFoldedUnscaled VarianceFoldedForItsRoot TrackerDilationWrong TrackerLooksBack
StrideFromTheSecondSample BesideTheBlockLost TrackerActivationLost OneSlopeForAllChannels
BeatsForDownbeats PeakOfTheBatch
""".split()  # noqa: SIM905

# Of one component each, and each in a module that holds no other's: a walk names them all.
TOGETHER = [
    "FinalNormLost GegluHalvesSwapped ScoresUnscaled BucketOffByOne MaskRowsZero"
    " ClassifierScrambled",
    "MissingFeedForwardNorm ReluGate ScoresScaledTwice BucketSidesSwapped StaleFoldedWeight"
    " EmbeddingCodebooksPermuted",
    "PaddingOneSided EncoderDilationWrong SnakeWithoutReciprocal EncoderResidualLost"
    " CodebookNotNormalised",
    "UpsamplingCutOnTheOtherSide DecoderDilationWrong OneChainMissing NormOverTheWrongAxis"
    " SnakeOfHalfTheFrequency TanhLost DecoderCodebooksPermuted",
    "ChainsSummedNotAveraged UpsamplingShifted LastCodebookMissing",
    "MeanFoldedUnscaled VarianceFoldedForItsRoot TrackerDilationWrong TrackerLooksBack"
    " StrideFromTheSecondSample TrackerActivationLost OneSlopeForAllChannels"
    " BeatsForDownbeats",
]
ONE = VerifySection(seeds=[0], frames=[29], batches=[3], threads=0)

IN_GRAPHS = [
    d
    for d in all_defects()
    if isinstance(d, GraphDefect) and d.culprit and not isinstance(d, FileDefect)
]
IN_TRACED = [d for d in IN_GRAPHS if d.component in NETWORKS]
IN_BUILT = [d for d in IN_GRAPHS if d not in IN_TRACED]


def test_these_are_the_defects_in_the_order_of_reports() -> None:
    found = all_defects()
    assert [defect.name for defect in found] == NAMES and len(NAMES) == 113
    assert len({defect.description for defect in found}) == 113


def test_a_class_in_a_new_module_of_the_room_is_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch.py").write_text(
        "from vampnet_onnx.verify.self_test.defects.base import GraphDefect\n\n\n"
        "class Abstract(GraphDefect):\n    pass\n\n\n"
        'class Scratch(Abstract, of="coarse", at=""):\n    """New."""\n\n'
        "    def plant(self, model): ...\n"
    )
    monkeypatch.setattr(defects, "__path__", [*defects.__path__, str(tmp_path)])
    monkeypatch.setattr(base, "KINDS", base.KINDS)
    try:
        assert [defect.name for defect in chosen_defects(())] == [*NAMES, "Scratch"]
        assert chosen_defects(["Scratch"])[0].description == "New"
    finally:
        base.KINDS.pop("Scratch", None)


def test_two_defects_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="a defect LayerDropped already"):
        type("LayerDropped", (GraphDefect,), {}, of="coarse")


def test_planting_a_defect_leaves_the_reference_as_it_was(tiny: ModelSet) -> None:
    before = {n: p.clone() for n, p in tiny.transformers["coarse"].named_parameters()}
    in_modules = [
        defect
        for defect in all_defects()
        if defect.component == "coarse" and isinstance(defect, ModuleDefect)
    ]
    assert len(in_modules) > 10
    for defect in in_modules:
        component = build_component("coarse", tiny)
        assert isinstance(component, TracedComponent)
        defect.plant(component.module)
    after = dict(tiny.transformers["coarse"].named_parameters())
    assert before and set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def ways(names: list[str]) -> set[tuple[str, type]]:
    """Return component and way of planting of each defect that is planted in a module."""
    return {
        (defect.component, type(defect).__bases__[0])
        for defect in chosen_defects(names)
        if isinstance(defect, ModuleDefect) and defect.culprit
    }


def test_those_planted_together_are_of_every_component_and_way_of_planting() -> None:
    assert ways(list(chain(*map(str.split, TOGETHER)))) == ways([])


@pytest.mark.parametrize("names", TOGETHER)
def test_of_defects_planted_together_one_of_every_component_and_way_each_is_named(
    tiny: ModelSet, tmp_path: Path, names: str
) -> None:
    chosen = chosen_defects(names.split())
    record, path = export_with(tiny, chosen[0].component, tmp_path, chosen)
    inputs = subject_of(record).inputs(record, subject_of(record).cases(record, ONE)[-1])
    found = locate(tiny, record, path, inputs)
    assert set(found.culprits) == {defect.culprit for defect in chosen}


@pytest.mark.parametrize("defect", IN_TRACED, ids=lambda defect: defect.name)
def test_the_module_of_every_defect_in_the_graph_of_a_network_is_named_first(
    golden_a: GoldenSet, exported_a: Path, tmp_path: Path, defect: GraphDefect
) -> None:
    artifacts = open_artifacts(exported_a)
    record = artifacts.manifest.component(defect.component)
    assert record is not None
    wrong = replanted(artifacts.path(record), defect.plant, tmp_path)
    cases = subject_of(record).cases(record, ONE)
    case = max(cases, key=lambda case: (case.length, case.setting))  # with mask tokens
    inputs = subject_of(record).inputs(record, case)
    assert locate(golden_a.models, record, wrong, inputs).culprits[0] == defect.culprit


@pytest.mark.parametrize("defect", IN_BUILT, ids=lambda defect: defect.name)
def test_the_scope_of_every_defect_in_a_built_graph_is_named(
    tiny: ModelSet, tmp_path: Path, defect: GraphDefect
) -> None:
    record, path = export_with(tiny, defect.component, tmp_path)
    right, wrong = Session(path), replanted(path, defect.plant, tmp_path)
    matrix = VerifySection(seeds=[0, 1, 2, 3], frames=[150, 13], batches=[3, 1], threads=0)
    for case in subject_of(record).cases(record, matrix):
        inputs = subject_of(record).inputs(record, case)
        expected, found = right.run(inputs), Session(wrong).run(inputs)
        if not all(np.allclose(expected[name], found[name], rtol=1e-4) for name in expected):
            assert locate(tiny, record, wrong, inputs).culprits[0] == defect.culprit
            return
    pytest.fail("no case shows it")
