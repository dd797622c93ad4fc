"""What runs artifacts: a runtime, its provider and its threads, as they travel together."""

from dataclasses import dataclass
from typing import Literal, get_args

from .errors import InputError

RuntimeName = Literal["onnxruntime", "openvino"]
ProviderName = Literal["cpu", "cuda", "coreml", "directml"]


@dataclass(frozen=True)
class Runtime:
    """Where graphs run; what is left out is ONNX Runtime on the CPU, which gates are made for.

    Attributes:
        provider: of ONNX Runtime, that networks run on wholly or not at all.
        threads: for one operator on the CPU; 0 leaves the choice to the runtime.
        tf32: let a GPU round the factors of float32 products to 10 bits.
        bf16: let OpenVINO compute the transformers in bf16.
    """

    name: RuntimeName = "onnxruntime"
    provider: ProviderName = "cpu"
    threads: int = 0
    tf32: bool = False
    bf16: bool = False

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InputError: a name is unknown, or an option would have no effect.
        """
        for what, name, known in (
            ("runtime", self.name, get_args(RuntimeName)),
            ("provider", self.provider, get_args(ProviderName)),
        ):
            if name not in known:
                raise InputError(
                    f"{what} {name!r}: there is none; known are {', '.join(known)}"
                )
        if self.name == "openvino" and self.provider != "cpu":
            raise InputError(
                f"--provider {self.provider} is one of ONNX Runtime; leave it out with"
                " --runtime openvino"
            )
        if self.tf32 and self.provider != "cuda":
            raise InputError("--tf32 goes with --provider cuda; elsewhere there is none")
        if self.bf16 and self.name != "openvino":
            raise InputError(
                "--bf16 goes with --runtime openvino; half precision for other runtimes is a"
                " form of its own (--variant fp16)"
            )

    @property
    def is_usual(self) -> bool:
        """Whether it is ONNX Runtime on the CPU."""
        return (self.name, self.provider) == ("onnxruntime", "cpu")

    def words(self) -> list[str]:
        """Return the options that ask a command for it; threads are the configuration's."""
        words = [] if self.provider == "cpu" else ["--provider", self.provider]
        words += [] if self.name == "onnxruntime" else ["--runtime", self.name]
        words += ["--tf32"] if self.tf32 else []
        return [*words, "--bf16"] if self.bf16 else words

    def __str__(self) -> str:
        if self.name == "openvino":
            return f"OpenVINO on the CPU, in {'bf16' if self.bf16 else 'float32'}"
        tf32 = ", TF32 allowed" if self.tf32 else ""
        return f"ONNX Runtime on {self.provider}{tf32}"


USUAL = Runtime()
