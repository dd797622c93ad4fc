"""Runs the published packages ``vampnet`` and ``lac``, in an interpreter of their own.

They pin an old torch and an old NumPy, so they never share an environment with ours.
`verify.sides.upstream` starts this file with the other interpreter and talks to it: one
request a line (JSON) on standard input, one answer a line on standard output, arrays in
``.npz`` files beside them.  So the file imports nothing of ours and keeps to Python 3.9.

Only public names are used, of versions whose ``generate`` takes ``_sampling_steps``; where
versions differ (an argument more or less, a dictionary or a tensor) the signature decides.
Beat tracking is never used and need not be installed.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import platform
import sys
import traceback
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

Arrays = dict[str, Any]


class LacksError(Exception):
    """A package, or a part of one, is not there, or is of a version that cannot be used."""


class Published:
    """The published models of checkpoint files, each loaded when first asked for."""

    def __init__(
        self, files: dict[str, str], lora: dict[str, str], chunk_sizes_s: tuple[float, float]
    ) -> None:
        self._paths = {name: Path(path) for name, path in files.items()}
        self._lora = lora
        self._chunks = chunk_sizes_s
        self._models: dict[tuple[str, str], Any] = {}
        self._interface: Any = None

    def model(self, name: str, precision: str = "float32") -> Any:
        """Return ``codec``, ``coarse`` or ``c2f``."""
        if (name, precision) not in self._models:
            made = _model_class(name).load(self._paths[name])
            self._models[name, precision] = self._ready(name, made, precision)
        return self._models[name, precision]

    def interface(self) -> Any:
        """Return the published interface around the models, without beat tracking."""
        if self._interface is None:
            present = {name: str(path) for name, path in self._paths.items()}
            make = _member(_vampnet("interface"), "Interface")
            for name in ("codec", "coarse"):  # it loads by these classes
                _model_class(name)
            made = make(
                codec_ckpt=present["codec"],
                coarse_ckpt=present["coarse"],
                coarse2fine_ckpt=present.get("c2f"),
                coarse_chunk_size_s=self._chunks[0],
                coarse2fine_chunk_size_s=self._chunks[1],
                **_accepted(make.__init__, wavebeat_ckpt=None, device="cpu", compile=False),
            )
            for name in present:
                self._models[name, "float32"] = self._ready(name, getattr(made, name))
            self._interface = made
        return self._interface

    def _ready(self, name: str, model: Any, precision: str = "float32") -> Any:
        """Require the whole file, lay a LoRA file over it, and then evaluate: that merges."""
        state = _require_loaded(model, self._paths[name])
        if name in self._lora:
            overlay = torch.load(self._lora[name], map_location="cpu", weights_only=True)
            model.train()
            state.update(overlay.get("state_dict", overlay))
            model.load_state_dict(state, strict=False)  # LoRA layers that no file fills
        return model.to(getattr(torch, precision)).eval()


# Operations: each takes the models, arrays and parameters, and returns arrays.
def describe(models: Published, arrays: Arrays) -> Arrays:
    """Make sure that the packages import, and return the versions they run under."""
    _module("audiotools")
    _model_class("codec")
    _model_class("coarse")
    _vampnet("mask")
    python = platform.python_version()
    return {"torch": torch.__version__, "numpy": np.__version__, "python": python}


def tables(models: Published, arrays: Arrays) -> Arrays:
    """Return every codebook of the codec, float [entries, width], as ``0``, ``1`` ..."""
    books = models.model("codec").quantizer.quantizers
    return {str(i): book.codebook.weight for i, book in enumerate(books)}


def encode(models: Published, arrays: Arrays, precision: str = "float32") -> Arrays:
    """Encode ``audio`` at the codec's rate."""
    codec = models.model("codec", precision)
    audio = _tensor(arrays["audio"], precision)
    padded = codec.preprocess(audio, codec.sample_rate)
    encoded = codec.encode(audio, codec.sample_rate)
    found = {"z_continuous": codec.encoder(_first(padded)), "z_quantized": encoded["z"]}
    return {**found, "codes": encoded["codes"], "latents": encoded["latents"]}


def decode(models: Published, arrays: Arrays, precision: str = "float32") -> Arrays:
    """Look ``codes`` up and decode them; the mask token reads as code 0."""
    codec = models.model("codec", precision)
    codes = _tensor(arrays["codes"])
    codes = codes.masked_fill(codes == codec.codebook_size, 0)
    z, latents, _ = codec.quantizer.from_codes(codes)
    return {"z_quantized": z, "latents": latents, "audio": _audio(codec.decode(z))}


def interface_decode(models: Published, arrays: Arrays) -> Arrays:
    """Decode ``codes`` the way the interface does."""
    return {"audio": _audio(models.interface().decode(_tensor(arrays["codes"])))}


def interface_encode(models: Published, arrays: Arrays, sample_rate: int) -> Arrays:
    """Prepare and encode ``audio``."""
    return {"codes": models.interface().encode(_signal(arrays["audio"], sample_rate))}


def preprocess(models: Published, arrays: Arrays, sample_rate: int) -> Arrays:
    """Prepare ``audio`` for the codec and measure the loudness it had."""
    interface = models.interface()
    signal = _signal(arrays["audio"], sample_rate)
    measured = signal.clone().loudness()
    prepare = getattr(interface, "_preprocess", None) or interface.preprocess
    return {"output": _audio(prepare(signal)), "input_loudness": measured.float().reshape(-1)}


def logits(
    models: Published, arrays: Arrays, model: str, precision: str = "float32"
) -> Arrays:
    """Predict logits from ``codes`` or ``latents``; with every layer's output."""
    network = models.model(model, precision)
    if "latents" in arrays:
        latents = _tensor(arrays["latents"], precision)
    else:
        lookup = network.embedding.from_codes
        codec = (models.model("codec", precision),) if len(_parameters(lookup)) > 1 else ()
        latents = lookup(_tensor(arrays["codes"]), *codec)
    outputs: list[Any] = []
    keep = lambda _module, _inputs, output: outputs.append(_first(output))  # noqa: E731
    hooks = [layer.register_forward_hook(keep) for layer in network.transformer.layers]
    # Older versions take a schedule time second, which has no effect without conditioning.
    rest = _parameters(network.forward)[1:]
    needed = [p for p in rest if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    found = _first(network(latents, *(torch.zeros(len(latents)) for _ in needed)))
    for hook in hooks:
        hook.remove()
    return {"latents": latents, "logits": found, "activations": torch.stack(outputs)}


def function(
    models: Published,
    arrays: Arrays,
    module: str,
    name: str,
    arguments: list[Any],
    keywords: dict[str, Any],
    seed: int | None,
) -> Arrays:
    """Call a function of ``vampnet`` on ``x``, ``y``, ``z`` and arguments: ``0``, ``1`` ...

    What the packages pass as a tensor is an array, be it one number: they use its methods.
    """
    call = _member(_vampnet(module), name)
    given = [_tensor(arrays[key]) for key in "xyz" if key in arrays] + arguments
    rest = [p for p in _parameters(call)[len(given) :] if p.name not in keywords]
    missing = [None for p in rest if p.default is p.empty]
    if seed is not None:  # else draws go on where they stopped
        torch.manual_seed(seed)
    found = call(*given, *missing, **keywords)
    results = found if isinstance(found, tuple) else (found,)
    return {str(i): result for i, result in enumerate(results)}


def onset_mask(models: Published, arrays: Arrays, width: int) -> Arrays:
    """Make the onset mask of ``z`` from ``audio`` (float32 [samples])."""
    interface = models.interface()
    call = _member(_vampnet("mask"), "onset_mask")
    signal = _signal(arrays["audio"][None, None], interface.codec.sample_rate)
    by_hop = _parameters(call)[2].name == "hop_length"
    where = int(interface.codec.hop_length) if by_hop else interface
    return {"mask": call(signal, _tensor(arrays["z"]), where, width=width).long()}


def build_mask(models: Published, arrays: Arrays, arguments: Arrays, seed: int) -> Arrays:
    """Compose the interface's mask of ``z``."""
    interface = models.interface()  # making it draws numbers, too
    torch.manual_seed(seed)
    return {"mask": interface.build_mask(_tensor(arrays["z"]), **arguments).long()}


def noise(models: Published, arrays: Arrays, shape: list[int], seed: int) -> Arrays:
    """Draw what sampling and remasking draw under a seed: logits are of ``shape``."""
    batch, positions, entries = shape
    torch.manual_seed(seed)
    exponential = torch.empty(batch * positions, entries).exponential_(1)
    torch.manual_seed(seed)
    uniform = torch.zeros(batch, positions).uniform_(1e-20, 1)
    return {"exponential": exponential, "uniform": uniform}


def generate(
    models: Published, arrays: Arrays, model: str, arguments: Arrays, seed: int
) -> Arrays:
    """Generate from ``start_tokens`` under ``mask``, or everything without one."""
    network = models.model(model)
    arguments = _understood(network.generate, arguments)
    tokens = _tensor(arrays["start_tokens"])
    mask = _tensor(arrays["mask"]) if "mask" in arrays else None
    codec, steps = models.model("codec"), tokens.shape[-1]
    fixed = _accepted(network.generate, codec=codec, time_steps=steps, return_signal=False)
    torch.manual_seed(seed)
    return {"tokens": network.generate(start_tokens=tokens, mask=mask, **fixed, **arguments)}


def vamp(models: Published, arrays: Arrays, arguments: dict[str, Any], seed: int) -> Arrays:
    """Make variations of ``codes`` under ``mask``, seeded once, and decode them."""
    interface = models.interface()
    call = _member(interface, "vamp")
    # What it does not know itself it hands on to the coarse model.
    arguments = _understood(call, arguments, interface.coarse.generate)
    torch.manual_seed(seed)
    tokens, masked = call(
        _tensor(arrays["codes"]), _tensor(arrays["mask"]), return_mask=True, **arguments
    )
    audio = _audio(interface.decode(tokens.clone()))
    return {"tokens": tokens, "masked_tokens": masked, "output_audio": audio}


OPERATIONS: dict[str, Any] = {
    call.__name__: call
    for call in (
        describe,
        tables,
        encode,
        decode,
        interface_decode,
        interface_encode,
        preprocess,
        logits,
        function,
        onset_mask,
        build_mask,
        noise,
        generate,
        vamp,
    )
}


def _model_class(name: str) -> Any:
    """Return the class, its ``load`` kept from trying a file as a package with code first."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise ValueError("torch packages are not opened")

    codec = name == "codec"
    module = _module("lac.model.lac") if codec else _vampnet("modules.transformer")
    found = _member(module, "LAC" if codec else "VampNet")
    found._load_package = refuse
    return found


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # old packages fail in many ways under a wrong environment
        reason = f"{type(error).__name__}: {error}"
        raise LacksError(f"{name} does not import ({reason})") from error


def _vampnet(name: str) -> Any:
    """Import a module of ``vampnet``, if need be without what only its top level wants.

    The top level imports beat tracking and the hub's client, and reads a file of its Git
    repository that no installation has.
    """
    try:
        return _module(f"vampnet.{name}")
    except LacksError:
        if hasattr(sys.modules.get("vampnet"), "bare"):
            raise
        _open_bare_vampnet()
        return _module(f"vampnet.{name}")


def _open_bare_vampnet() -> None:
    for loaded in [n for n in sys.modules if n.split(".")[0] == "vampnet"]:
        del sys.modules[loaded]
    spec = importlib.util.find_spec("vampnet")
    if spec is None or not spec.submodule_search_locations:
        raise LacksError("vampnet does not import (it is not installed)")
    bare: Any = types.ModuleType("vampnet")
    bare.__path__ = list(spec.submodule_search_locations)
    bare.bare = True
    sys.modules["vampnet"] = bare
    try:
        importlib.import_module("vampnet.beats")
    except Exception:  # whatever beat tracking lacks, nothing here tracks beats
        beats: Any = types.ModuleType("vampnet.beats")
        beats.WaveBeat = None
        sys.modules["vampnet.beats"] = beats


def _require_loaded(model: Any, path: Path) -> Arrays:
    """Refuse a model that the file did not fill: ``load`` passes over keys in silence."""
    mapped = zipfile.is_zipfile(path)
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    state: Arrays = content["state_dict"]
    given, wanted = set(state), set(model.state_dict())
    lora = {key for key in wanted - given if key.endswith((".lora_A", ".lora_B"))}
    wrong = sorted((wanted ^ given) - lora)
    if wrong:
        raise LacksError(
            f"{path} does not fit the installed version of {type(model).__module__}:"
            f" {len(wrong)} keys are in one of them only, such as {', '.join(wrong[:3])}"
        )
    return state


def _parameters(call: Any) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(call).parameters.values() if p.name != "self"]


def _accepted(call: Any, **given: Any) -> dict[str, Any]:
    """Keep the arguments that a function of this version has."""
    names = [p.name for p in _parameters(call)]
    return {name: value for name, value in given.items() if name in names}


def _understood(call: Any, given: Arrays, *then: Any) -> Arrays:
    """Return the options as this version takes them; refuse one that it does not have."""
    known = {p.name: p for made in (*then, call) for p in _parameters(made)}
    for name in given:
        if name not in known:
            raise LacksError(f"the installed version of vampnet has no option {name!r}")
    steps = given.get("_sampling_steps")
    if steps is not None and isinstance(known["_sampling_steps"].default, (list, tuple)):
        return {**given, "_sampling_steps": [steps]}  # some versions add up a list
    return given


def _member(owner: Any, name: str) -> Any:
    """Return what a module or an object of the packages has under a name."""
    if not hasattr(owner, name):
        where = getattr(owner, "__name__", type(owner).__module__)
        raise LacksError(f"the installed version of {where} has no {name!r}")
    return getattr(owner, name)


def _tensor(array: Any, precision: str = "float32") -> Any:
    tensor = torch.from_numpy(np.array(array))
    return tensor.to(getattr(torch, precision)) if tensor.is_floating_point() else tensor


def _signal(audio: Any, sample_rate: int) -> Any:
    return _module("audiotools").AudioSignal(_tensor(audio), int(sample_rate))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) else value


def _audio(value: Any) -> Any:
    """Return the samples of what decoding gives: a dictionary, a signal or a tensor."""
    found = value["audio"] if isinstance(value, dict) else value
    return getattr(found, "audio_data", found)


def _answer(models: Published, request: dict[str, Any]) -> dict[str, str]:
    try:
        arrays: Arrays = {}
        if request["inputs"]:
            with np.load(request["inputs"], allow_pickle=False) as data:
                arrays = dict(data)
        with torch.no_grad():
            found = OPERATIONS[request["operation"]](models, arrays, **request["parameters"])
        results: Any = {
            name: value.detach().numpy() if isinstance(value, torch.Tensor) else value
            for name, value in found.items()
        }
        np.savez(request["outputs"], **results)
    except LacksError as error:
        return {"lacks": str(error)}
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        return {"error": f"{type(error).__name__}: {error} ({where})"}
    return {}


def main() -> None:
    """Answer requests until standard input ends; the first line says what to open."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print is no answer
    settings = json.loads(sys.stdin.readline())
    threads = settings.pop("threads")
    if threads:
        torch.set_num_threads(threads)
    models = Published(**settings)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(models, json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
