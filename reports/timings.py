"""What a bench measured, as data: every rendering of it is made from this alone."""

from pydantic import Field

from vampnet_onnx.configs.manifest import Record


class Spread(Record):
    """What one contestant took over the rounds, in seconds."""

    median: float
    low: float = Field(description="end of the interval that holds the median")
    high: float


class Ratio(Record):
    """How many times as long another contestant took as the first."""

    value: float | None = Field(description="null where no difference was measured")
    low: float = Field(description="end of the interval that holds the median of the ratios")
    high: float
    would_tell: int | None = Field(
        default=None,
        description="rounds, about, that would tell a ratio whose interval is clear of one",
    )


class Timing(Record):
    """One contestant at one thing."""

    contestant: str
    seconds: Spread
    rounds: list[float] = Field(description="seconds of every round, in their order")
    ratio: Ratio | None = Field(
        default=None, description="its seconds over the first contestant's; null of the first"
    )
    audio_seconds_a_second: float | None = None
    of_sgemm: float | None = Field(
        default=None, description="share of the machine's rate of matrix products"
    )
    peak_memory: int | None = Field(
        default=None, description="bytes of its process; null where no count is kept"
    )


class Row(Record):
    """One thing that every contestant did in turns."""

    part: str = Field(description="components, or a whole job: vamp, export, verify")
    what: str = Field(description="component, step, or phase of a job; total for all of it")
    cores: int
    batch: int = 1
    audio_s: float | None = Field(default=None, description="seconds of audio of an item")
    frames: int | None = None
    flops: int | None = Field(
        default=None, description="floating-point operations, from the network's dimensions"
    )
    sgemm_flops: float | None = Field(
        default=None, description="operations a second of a matrix product in the same rounds"
    )
    timings: list[Timing]


class Contender(Record):
    """Who took part."""

    name: str
    what: str = Field(description="what computes there, with versions")
    python: str
    source: str = Field(description="hash of the code that runs there")
    threads: int | None = Field(
        default=None, description="on all cores that were asked for; a row has one a core"
    )


class Bench(Record):
    """A whole bench."""

    schema_version: int = 1
    model: str
    files: str = Field(description="the artifacts, or the size of the random set")
    verified: bool
    random_weights: bool
    processor: str
    cores: int
    command: str = Field(description="what measures it again")
    contestants: list[Contender]
    rows: list[Row]
    notes: list[str] = Field(default_factory=list)
    stopped: str = Field(
        default="", description="why parts are missing, such as an interrupt; empty if none is"
    )
