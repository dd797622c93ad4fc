"""What a person gave a command, so that the next command can be printed as it is pasted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .runtime import USUAL, Runtime
from .text import path_word, quoted

# What commands know of it besides the artifacts, --checkpoint and --codec.
_KNOWN: Mapping[str, frozenset[str]] = {
    "verify": frozenset({"lora", "config", "unsealed", "reference", "upstream_python"}),
    "localise": frozenset({"lora", "unsealed", "reference"}),
}
# Where a verification that is run again reports, so that it replaces no whole report.
_AGAIN = "report-again"
# A walk needs modules, or activations that were recorded of them.
_WALKED = frozenset({"models", "golden"})


@dataclass(frozen=True)
class Given:
    """Options that a later command needs again.

    Attributes:
        checkpoint: as given or as the configuration says; None where neither does.
        lora: LoRA file by transformer.
        codec: file of the codec, in place of the checkpoint folder's own.
        config: a configuration file; its LoRA files are left out of `lora`'s options where a
            command reads them there.
        reference: what was compared with, if not our models.
        runtime: that the artifacts ran on.
    """

    artifacts: Path
    checkpoint: Path | None = None
    lora: Mapping[str, Path] = field(default_factory=dict)
    codec: Path | None = None
    config: Path | None = None
    unsealed: bool = False
    reference: str = "models"
    upstream_python: str | Path | None = None
    runtime: Runtime = USUAL

    def command(self, name: str, *more: str) -> str:
        """Return a command on the same artifacts that a shell takes as it is.

        Args:
            name: of the command, such as ``localise``.
            more: further words, as they are meant before quoting.
        """
        known = _KNOWN[name]
        words = [name, path_word(self.artifacts)]
        if self.checkpoint is not None:
            words += ["--checkpoint", path_word(self.checkpoint)]
        if self.codec is not None:
            words += ["--codec", path_word(self.codec)]
        if "config" in known and self.config is not None:
            words += ["--config", path_word(self.config)]
        for transformer, path in self.lora.items():
            words += ["--lora", f"{transformer}={path}"]
        if self.unsealed:
            words.append("--unsealed")
        if self.reference != "models" and (name != "localise" or self.reference in _WALKED):
            words += ["--reference", self.reference]
        if "upstream_python" in known and self.upstream_python is not None:
            words += ["--upstream-python", str(self.upstream_python)]
        if name == "verify":
            words += ["--report", _AGAIN]
        words += self.runtime.words()
        return shell_line(*words, *more)


def shell_line(*words: str | Path) -> str:
    """Return a command of this tool, with its words, as it is pasted into a shell."""
    return " ".join(["vampnet-onnx", *(quoted(str(word)) for word in words)])
