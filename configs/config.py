"""The configuration of a release: which checkpoint, what to export, what to check.

A TOML file; what it leaves out comes from ``defaults.toml``.  Paths of inputs are relative to
the file, paths of outputs to the working folder.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from .errors import InputError, nearest
from .names import (
    GENERATOR,
    TRANSFORMERS,
    TransformerName,
    Variant,
    entry_and_form,
    variant_of,
)
from .packaged import packaged_set, shipped

DEMO = "demo.toml"

# Tables of gates.toml that are no gates of a component.
_SETTINGS = ("ties", "noise", "audit", "modules", "headroom", "learnt")

T = TypeVar("T", bound=BaseModel)

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
Name = Annotated[str, Field(pattern=NAME)]
Count = Annotated[int, Field(ge=1, le=1 << 20, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63, strict=True)]
# An infinite limit could not fail, and one of NaN could not hold.
Limit = Annotated[float, Field(allow_inf_nan=False, strict=True)]


def _is_component(name: object) -> object:
    """Accept a component: what gates.toml has gates of, by its name."""
    known = list[str]()
    for kind in shipped("gates.toml"):
        if kind not in (*_SETTINGS, "every", "generation", GENERATOR) and "." not in kind:
            known += TRANSFORMERS if kind == "transformer" else [kind]
    if name not in known:
        *first, last = map(repr, known)
        raise PydanticCustomError("component", f"Input should be {', '.join(first)} or {last}")
    return name


def _once_each(names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise PydanticCustomError("twice", f"{name} is there {names.count(name)} times")
    return names


ComponentName = Annotated[str, BeforeValidator(_is_component)]


Forms = Annotated[list[Variant], Field(min_length=1), AfterValidator(_once_each)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckpointSection(_Section):
    """Where the weights come from.

    One of a folder, a set that the package brings along (read as its folder) and a random set
    of a known size.
    """

    path: Path | None = Field(
        None, description="Folder of checkpoints, or of a training run; beside this file."
    )
    packaged: Name | None = Field(None, description="Set that the package brings along: demo.")
    like: str | None = Field(None, description="Random set of a size: tiny, demo, released.")
    seed: Seed = Field(description="Of the weights of a random set.")
    codec: Path | None = Field(None, description="Codec's file, in place of the folder's own.")
    lora: dict[TransformerName, Path] = Field(
        {}, description="LoRA file laid over a transformer, by its name: coarse, c2f."
    )

    @property
    def overlays(self) -> dict[str, Path]:
        """LoRA overlay by transformer."""
        return {str(name): path for name, path in self.lora.items()}


class ExportSection(_Section):
    """What to export and how."""

    components: Annotated[list[ComponentName], Field(min_length=1)] | None = Field(
        None, description="These alone; every one that the folder allows if left out."
    )
    inputs: Annotated[list[Literal["codes", "latents"]], Field(min_length=1)] = Field(
        description="Entries of the transformers, a file each: codes, latents."
    )
    variants: Annotated[list[Variant], Field(min_length=1), AfterValidator(_once_each)] = (
        Field(description="Forms of the transformers: fp32, int8, w8, w4, fp16.")
    )
    leave: Path | None = Field(
        None, description="What quantise --search found: layers that a form leaves in float32."
    )
    rates: list[Count] | None = Field(
        None,
        description="Sample rates in Hz with an audio processor beside the codec's own; 8, 16,"
        " 22.05, 24, 32, 44.1, 48, 88.2 and 96 kHz if left out.",
    )
    opset: Annotated[int, Field(ge=18, le=23, strict=True)] = Field(
        description="Of ONNX, 18 to 23; 23 needs ONNX Runtime 1.23."
    )
    external_data: Annotated[bool, Field(strict=True)] = Field(
        description="Weights in files of their own, at any size; from 1 GB on they always are."
    )
    generator: Annotated[bool, Field(strict=True)] = Field(
        description="Beside each transformer, one graph of a whole generation with it."
    )


class VerifySection(_Section):
    """The matrix of cases."""

    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(
        description="Of inputs and generations."
    )
    frames: Annotated[list[Count], Field(min_length=1)] = Field(description="Lengths.")
    batches: Annotated[list[Count], Field(min_length=1)] = Field(description="Batch sizes.")
    threads: Annotated[int, Field(ge=0, le=1024, strict=True)] = Field(
        description="Of ONNX Runtime and PyTorch each; 0 leaves the choice to them."
    )


class LocaliseSection(_Section):
    """How long verification looks for the module behind a failure."""

    seconds: Annotated[int, Field(ge=1, le=1 << 20, strict=True)] = Field(
        description="Of each component that fails, at most."
    )


class OutputSection(_Section):
    """Where results go."""

    artifacts: Path = Field(description="Root of the artifact store; in the working folder.")
    report: Path = Field(description="Folder of the report; in the working folder.")


class Config(_Section):
    """A whole configuration."""

    model: Name = Field(description="Name in the store: letters, digits, dots and dashes.")
    checkpoint: CheckpointSection
    export: ExportSection
    verify: VerifySection
    localise: LocaliseSection
    output: OutputSection
    gates: dict[str, dict[str, dict[str, Limit]]] = Field(
        {}, description="Other limits: [gates.COMPONENT.METRIC] with limit = NUMBER."
    )


class GateRule(_Section):
    """One threshold with the reason for it."""

    limit: Limit
    direction: Literal["at most", "at least"]
    unit: str
    reason: str


class Ties(_Section):
    """Margins of the reference below which a differing token is a tie."""

    codes_margin: float  # squared distance on the unit sphere
    logits_margin: float  # share of the largest absolute logit
    draws_margin: float = 0.0  # sampler: share of the best score or the largest confidence


class NoiseAllowance(_Section):
    """How far the reference's own float32 rounding widens a limit."""

    factor: float  # multiple of the rounding that is allowed
    cap: float  # multiple of the limit that is never exceeded


class AuditRule(_Section):
    """What a file may differ by from a fresh export of its checkpoint."""

    rounding: float  # of a weight that a pass computes, relative


class ModulesRule(_Section):
    """How far a module by itself may be from the float64 reference."""

    factor: float  # multiple of the reference's own float32 rounding on the same inputs
    floor: float  # share of the largest value, where that rounding is less
    scale: float  # what inputs are scaled by, to see what larger ones hide


class HeadroomRule(_Section):
    """How much nearer to a limit a value may come from one verified version to the next."""

    factor: Annotated[float, Field(gt=1)]
    least: Annotated[float, Field(ge=1)]  # times to spare below which a history says it fell


class LearntRule(_Section):
    """What tells a model that has learnt from music from one that has not."""

    gain: float  # over chance, in predicting the codes of the packaged clip, nats a code


class Gates(_Section):
    """Every threshold of a verification.

    Attributes:
        kinds: gates by metric, by what they are of: a component, generations, or
            ``transformer`` for coarse and c2f.
    """

    ties: Ties
    noise: NoiseAllowance
    audit: AuditRule
    modules: ModulesRule
    headroom: HeadroomRule
    learnt: LearntRule
    kinds: dict[str, dict[str, GateRule]]

    def for_component(self, name: str, variant: str = "") -> dict[str, GateRule]:
        """Return the gates of a component by metric; a form of it has its own."""
        kind = "transformer" if name in TRANSFORMERS else name
        kind = GENERATOR if variant == GENERATOR else kind
        return self.kinds[variant_of(kind, entry_and_form(variant)[1])]


class GoldenRule(_Section):
    """How far an array may be from the recorded one, with the reason for it."""

    measure: Literal["differing", "relative", "relative_by_layer", "absolute"]
    limit: Annotated[float, Field(ge=0)]
    reason: str


class GoldenRules(_Section):
    """Every rule of ``golden check``, by kind of case and recorded array."""

    kinds: dict[str, dict[str, GoldenRule]]


def load_config(path: Path | None) -> Config:
    """Read a configuration; None reads the embedded demo.

    Raises:
        InputError: no such file, not TOML, an unknown key or an impossible value.
    """
    if path is None:
        return config_from(shipped(DEMO), source=f"embedded {DEMO}")
    try:
        values = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such configuration file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return config_from(values, source=str(path), relative_to=path.parent)


def config_from(
    values: dict[str, Any], *, source: str, relative_to: Path | None = None
) -> Config:
    """Build a configuration from values and the defaults.

    Raises:
        InputError: an unknown key or an impossible value.
    """
    merged = {"checkpoint": {}, **_merge(shipped("defaults.toml"), values)}
    config = validated(Config, merged, source)
    checkpoint = config.checkpoint
    if [checkpoint.path, checkpoint.packaged, checkpoint.like].count(None) != 2:
        raise InputError(
            f"{source}: give one of checkpoint.path (a folder), checkpoint.packaged (a set"
            " that comes with the package) and checkpoint.like (a size)"
        )
    path, codec, lora = checkpoint.path, checkpoint.codec, checkpoint.lora
    if codec is not None and path is None:
        raise InputError(f"{source}: checkpoint.codec goes with checkpoint.path, a folder")
    leave = config.export.leave
    if relative_to is not None:
        leave = relative_to / leave if leave else None
        path = relative_to / path if path else None
        codec = relative_to / codec if codec else None
        lora = {name: relative_to / overlay for name, overlay in lora.items()}
    if checkpoint.packaged is not None:
        path = packaged_set(checkpoint.packaged, source)
    changed = {"path": path, "packaged": None, "codec": codec, "lora": lora}
    moved = checkpoint.model_copy(update=changed)
    export = config.export.model_copy(update={"leave": leave})
    return config.model_copy(update={"checkpoint": moved, "export": export})


def load_gates(overrides: dict[str, dict[str, dict[str, float]]] | None = None) -> Gates:
    """Read the shipped gates, with limits replaced by a configuration's.

    Raises:
        InputError: an override of a gate that does not exist.
    """
    tables = shipped("gates.toml")
    settings = {name: tables.pop(name) for name in _SETTINGS}
    every = tables.pop("every")
    kinds = {kind: _with_shared(own, every) for kind, own in tables.items()}
    for component, rules in (overrides or {}).items():
        for metric, change in rules.items():
            known = kinds.get(component, {})
            if metric not in known:
                names = list(known) or list(kinds)
                wrong = metric if known else component
                raise InputError(
                    f"gates.{component}.{metric}: no such gate{nearest(wrong, names)};"
                    f" known are {', '.join(names)}"
                )
            if set(change) != {"limit"}:
                raise InputError(f"gates.{component}.{metric}: only 'limit' can be set")
            known[metric] = {**known[metric], **change}
    return validated(Gates, {**settings, "kinds": kinds}, "gates.toml")


def _with_shared(own: dict[str, Any], every: dict[str, Any]) -> dict[str, Any]:
    """Return a component's own gates, then those of every component that it keeps."""
    kept = {name: rule for name, rule in every.items() if own.get(name) is not False}
    shared = {name: {**rule, **own.get(name, {})} for name, rule in kept.items()}
    return {name: rule for name, rule in own.items() if name not in every} | shared


def load_golden_rules() -> dict[str, dict[str, GoldenRule]]:
    """Read the shipped rules of ``golden check``."""
    return validated(GoldenRules, {"kinds": shipped("golden.toml")}, "golden.toml").kinds


def validated(kind: type[T], values: dict[str, Any], source: str) -> T:
    """Validate values, with one clear message instead of pydantic's listing.

    Raises:
        InputError: naming key, value and the nearest known name.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{source}: " + "; ".join(_explain(kind, error))) from error


def first_problem(error: ValidationError) -> str:
    """Return the first key that does not fit, and why; of what is no JSON, why alone."""
    first = error.errors()[0]
    return ": ".join(filter(None, [_key(first["loc"]), first["msg"]]))


def _key(path: tuple[int | str, ...]) -> str:
    return ".".join(map(str, path))


def _explain(kind: type[BaseModel], error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        key = _key(item["loc"])
        if item["type"] == "extra_forbidden":
            known = _known_fields(kind, item["loc"][:-1])
            lines.append(f"unknown key {key!r}{nearest(str(item['loc'][-1]), known)}")
        elif item["type"] == "missing":
            lines.append(f"key {key!r} is missing")
        else:
            lines.append(f"{key} = {item['input']!r}: {item['msg']}")
    return lines


def _known_fields(kind: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    current: Any = kind
    for part in path:
        field = getattr(current, "model_fields", {}).get(str(part))
        current = field.annotation if field else None
    return list(getattr(current, "model_fields", {}))


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            merged[key] = _merge(inner, value)
        else:
            merged[key] = value
    return merged
