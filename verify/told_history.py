"""A verification among those before it: drawn in its report, and kept for the next one."""

from dataclasses import dataclass
from pathlib import Path

from vampnet_onnx.configs.config import HeadroomRule, VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there, sha256
from vampnet_onnx.configs.manifest import MANIFEST_NAME, Manifest
from vampnet_onnx.reports import Report
from vampnet_onnx.reports.history import (
    HISTORY_NAME,
    PastRun,
    append_run,
    past_run,
    read_history,
)
from vampnet_onnx.reports.trend import UNDRAWN, comparable, trend_of, with_trend


@dataclass(frozen=True)
class History:
    """The history of a model, and what its next line says beside the report.

    Attributes:
        home: folder of the model, with its versions.
        partial: why the run is no whole one.
    """

    home: Path
    manifest: Manifest
    matrix: VerifySection
    rule: HeadroomRule
    partial: tuple[str, ...] = ()

    def placed(self, report: Report, folder: Path) -> tuple[Report, PastRun]:
        """Return a report with how it stands among earlier runs, and its own line.

        A history that cannot be read is noted, and hinders nothing.

        Args:
            folder: where the files that were verified lie.
        """
        run = past_run(
            report,
            self.manifest,
            sha256(folder / MANIFEST_NAME),
            matrix=self.matrix,
            partial=self.partial,
        )
        if self.partial:
            return report, run
        path = self.home / HISTORY_NAME
        try:
            before = read_history(path) if is_there(path) else []
        except InputError as error:
            note = f"{UNDRAWN}: {error}"
            return report.model_copy(update={"notes": [*report.notes, note]}), run
        trend = trend_of(comparable([*before, run], run.model, run.runtime), self.rule)
        return with_trend(report, trend), run

    def keep(self, run: PastRun) -> str:
        """Append the line of a run; a folder that cannot be written to is no failure.

        Returns:
            What became of it, in a few words.
        """
        try:
            append_run(self.home / HISTORY_NAME, run)
        except InputError as error:
            return f"{HISTORY_NAME} has no line of this run: {error}"
        return f"{HISTORY_NAME} has this run"
