"""The generators: codes, mask and seed to tokens, in one graph.

Whole runs are compared, from the beginning of the noise and from further on in it, as a chunk
goes on behind another.  That slices of a run and the pipeline's own loop give the same codes
is a gate of its own (`verify.gates.own_loop`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch

from vampnet_onnx.configs.config import Ties, VerifySection
from vampnet_onnx.configs.generator import generator_options
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import GENERATOR, TRANSFORMERS
from vampnet_onnx.configs.settings import GenerationSettings, Mode, generation_settings
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.behaviour.generate import generate, token_model
from vampnet_onnx.verify.numbers import metrics

from . import sampler
from .case import Arrays, Case, Comparison, Computed, Outputs, Subject, token_counts
from .codec import codec_of
from .generation.both_sides import Seen, TorchPhilox, margins_of, required, watched
from .generation.compare import differences
from .random import Random

_CORRECTED: Mapping[str, Any] = {"mode": Mode.CORRECTED}
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "published": {},
    "filtered": {**_CORRECTED, "top_p": 0.9, "temperature": 0.8},
    "guided": {**_CORRECTED, "cfg_guidance": 2.5, "typical_filtering": False},
    "idle_guidance": {"cfg_guidance": 3.0, "mask_temperature": 3.0},
    "argmax_last": {"sample_cutoff": 0.5, "top_p": 0.8},
    "further": {**_CORRECTED, "typical_mass": 0.02, "mask_temperature": 6.0},
    "further_cold": {"temperature": 0.5},
}
_FACTS = ("end", "bad_logits", "bad_guidance", "bad_confidence")


class Generator(Subject):
    """Tokens of every step are compared, what they were kept by, and where the noise ends."""

    names = tuple(f"{name}.{GENERATOR}" for name in TRANSFORMERS)
    has_rounding = False  # its margins hold the rounding of its logits
    untried = frozenset({"current", "first_step"})  # of slices, which are a gate of their own
    unmoved = frozenset(_FACTS)
    walks = False
    adaptable = False
    settings = tuple(_SETTINGS)

    def codebooks(self, record: ComponentRecord) -> tuple[int]:
        """Return all of them."""
        return (record.dim("n_codebooks"),)

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Generate once for every seed and length, settings and batches in turn.

        Every setting is tried, however few seeds and lengths there are.
        """
        extents, (books,) = list(product(matrix.seeds, matrix.frames)), self.codebooks(record)
        found = []
        for i in range(max(len(extents), len(self.settings))):
            seed, frames = extents[i % len(extents)]
            batch = matrix.batches[i % len(matrix.batches)]
            setting = self.settings[i % len(self.settings)]
            found.append(Case(record.id, seed, batch, frames, books, setting))
        return found

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make codes, a mask that keeps a fifth, the seed and the options of the setting.

        A conditioning codebook is masked here and there, too: the modes treat that unlike.
        """
        random = Random(case.id)
        vocab, shape = record.dim("vocab_size"), (case.batch, case.codebooks, case.length)
        given = record.dim("n_conditioning_codebooks", least=0)
        codes = random.integers(shape, vocab)
        share = np.full((1, case.codebooks, 1), 0.8, np.float32)
        share[:, :given] = 0.05
        mask = (random.unit(shape) < share).astype(np.int64)
        least, mass, steps = (int(random.integers((), n)) for n in (vocab // 4 + 1, 6, 2))
        chosen = generation_settings(
            **{
                "steps": 3 + steps,
                "typical_mass": 0.2 + 0.1 * mass,
                "typical_min_tokens": 1 + least,
                "top_k": 1 + vocab // 8 if case.setting == "filtered" else None,
                **_SETTINGS[case.setting],
            }
        )
        start = int(random.integers((), 1 << 40)) if "further" in case.setting else 0
        high, low = (int(random.integers((), 1 << 32)) for _ in range(2))
        values: dict[str, Any] = {
            **generator_options(chosen),
            "first_step": 0,
            "step_count": chosen.steps,
            "start": start,
            "seed": high << 32 | low,
            "codes": codes,
            "mask": mask,
            "current": codes[:, given:],
        }
        return {item.name: np.array(values[item.name], item.dtype) for item in record.inputs}

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Generate in PyTorch, with the margins of every step, float64 [4, S, B, P, T].

        They are those of `generation.both_sides.run_generation`.
        """
        chosen = settings_of(inputs)
        noise = TorchPhilox(int(inputs["seed"]), int(inputs["start"]))
        log = list[Seen]()
        model = models.transformers[record.name]
        tokens = generate(
            watched(token_model(record.name, model, codec_of(models).quantizer), log),
            torch.from_numpy(inputs["codes"]),
            torch.from_numpy(inputs["mask"]),
            settings=chosen,
            noise=noise,
            on_step=lambda _step, result: log[-1].keep(result, noise.last),
        )
        seen = [_of_batch(item, chosen) for item in log]
        results = [required(item) for item in seen]
        margins, decisions = margins_of(seen, [chosen] * len(seen), range(len(seen)))
        confidence = torch.stack([result.confidence for result in results])
        nowhere = np.array(-1, np.int64)
        return Computed(
            {
                "tokens": tokens.numpy(),
                "sampled": torch.stack([result.sampled for result in results]).numpy(),
                "next_codes": torch.stack([result.codes for result in results]).numpy(),
                "confidence": confidence.where(torch.isfinite(confidence), 0.0).numpy(),
                "end": np.array(noise.place, np.int64),
                **dict.fromkeys(_FACTS[1:], nowhere),
            },
            np.stack([np.stack(part) for part in margins]),
            decisions=decisions,
        )

    def margins(self, outputs: Outputs, tables: Sequence[np.ndarray]) -> np.ndarray:
        """Return margins within which nothing that differs is a tie."""
        none = np.zeros((4, *outputs["sampled"].shape))
        none[:2] = np.inf
        return none

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Look for the first step that differs, and at the confidence until then."""
        wanted = expected.outputs
        found, message = differences(expected, export, ties, lambda _book: record.name)
        final = wanted["tokens"] != export["tokens"]
        alike = int(np.append(found.any.any(axis=(1, 2, 3)), True).argmax())
        r, e = (side["confidence"][:alike] for side in (wanted, export))
        facts = [name for name in _FACTS if wanted[name] != export[name]]
        said = [f"{name} is {export[name]}, not {wanted[name]}" for name in facts]
        both = wanted["confidence"], export["confidence"]
        return Comparison(
            metrics={
                "token_accuracy": 1 - float(final.mean()),
                "tokens_unexplained": float(found.unexplained.sum()),
                "facts_differing": float(len(facts)),
                **metrics.nonfinite(*both),
                **(metrics.float_metrics(r, e) if alike else {}),
            },
            quantity="tokens",
            error=final.any(axis=0).astype(np.float64),
            rows=[f"codebook {i}" for i in range(final.shape[1])],
            unit="frames",
            of_codes=True,
            reference=r,
            export=e,
            tokens=token_counts(final.transpose(1, 0, 2), found.ambiguous),
            message="; ".join(
                filter(None, [metrics.nonfinite_message(*both), message, *said])
            ),
        )


SUBJECTS = (Generator(),)


def settings_of(inputs: Outputs) -> GenerationSettings:
    """Return the options that a generator's inputs say."""
    return sampler.settings_of(
        inputs,
        mode=Mode.CORRECTED if inputs["corrected"] else Mode.REFERENCE,
        cfg_guidance=float(inputs["cfg_guidance"]) if inputs["guided"] else None,
    )


def _of_batch(seen: Seen, settings: GenerationSettings) -> Seen:
    """Return a step without the items that guidance doubles the batch by."""
    scale, batch = settings.cfg_guidance, len(required(seen).sampled)
    if scale is None:
        return seen
    logits, exponential = seen.logits, seen.exponential
    if len(logits) > batch:
        logits = scale * logits[:batch] + (1 - scale) * logits[batch:]
    if exponential is not None:
        exponential = exponential[: batch * logits.shape[-1]]
    return replace(seen, codes=seen.codes[:batch], logits=logits, exponential=exponential)
