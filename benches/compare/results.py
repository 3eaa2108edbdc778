"""results.tsv: what every run took, added to unit by unit, so that a comparison can be stopped and continued.

A unit is one tool going through one data set once. Its rows are written together when it has ended well.
"""

import csv
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass
class Row:
    """One run as it stands in results.tsv."""

    data: str
    tool: str
    operation: str
    repeat: int
    stream_bytes: int
    wall_secs: float
    cpu_secs: float
    peak_rss_bytes: int
    foreign_secs: float
    # The repository after the run, and what the run added to it.
    repository_bytes: int
    repository_files: int
    added_bytes: int

    @property
    def unit(self) -> tuple[str, str, int]:
        return self.data, self.tool, self.repeat


class Results:
    """The rows of a comparison, the speeds of the engine's stages and what was typed, in one directory."""

    def __init__(self, directory: Path, program: str | None, proceed: bool, command: str):
        """Begins anew, or with `proceed` goes on with what is there. `program` is the Cistern under measurement."""
        self.tsv, self.stages_json = directory / "results.tsv", directory / "stages.json"
        self.rows: list[Row] = []
        # {repeat: {stage: {stream: MB/s}}}
        self.stages: dict[int, dict[str, dict[str, float]]] = {}
        directory.mkdir(parents=True, exist_ok=True)
        if proceed:
            self._load()
        else:
            self.tsv.write_text("\t".join(column.name for column in fields(Row)) + "\n")
            self.stages_json.unlink(missing_ok=True)
        self._same_build(directory / "build", program, proceed)
        self.commands = self._commands(directory / "commands", command, proceed)

    def _load(self):
        if not self.tsv.exists():
            raise SystemExit(f"compare: there is no {self.tsv} to continue: leave --continue out")
        with self.tsv.open(newline="") as file:
            for record in csv.DictReader(file, delimiter="\t"):
                self.rows.append(Row(**{column.name: column.type(record[column.name]) for column in fields(Row)}))
        if self.stages_json.exists():
            self.stages = {int(repeat): speeds for repeat, speeds in json.loads(self.stages_json.read_text()).items()}

    def _same_build(self, record: Path, program: str | None, proceed: bool):
        """Refuses to mix the figures of two builds in one table."""
        path = shutil.which(program) if program else None
        if path is None:
            return
        with open(path, "rb") as file:
            build = hashlib.file_digest(file, "sha256").hexdigest()
        if proceed and record.exists() and record.read_text() != build:
            raise SystemExit(f"compare: {self.tsv} was measured with another build than {path}: start anew")
        record.write_text(build)

    def _commands(self, record: Path, command: str, proceed: bool) -> list[str]:
        """All that was typed for these results, each once, this last."""
        before = record.read_text().splitlines() if proceed and record.exists() else []
        commands = [*(earlier for earlier in before if earlier != command), command]
        record.write_text("\n".join(commands) + "\n")
        return commands

    def has(self, data: str, tool: str, repeat: int) -> bool:
        """Whether a unit has been measured."""
        return any(row.unit == (data, tool, repeat) for row in self.rows)

    def add(self, rows: list[Row]):
        """Keeps a unit that ended well."""
        with self.tsv.open("a", newline="") as file:
            table = csv.DictWriter(file, [column.name for column in fields(Row)], delimiter="\t", lineterminator="\n")
            table.writerows(asdict(row) for row in rows)
        self.rows += rows

    def add_stages(self, repeat: int, speeds: dict[str, dict[str, float]]):
        """Keeps what the stages reached beside one repeat."""
        self.stages[repeat] = speeds
        self.stages_json.write_text(json.dumps(self.stages, indent=1) + "\n")
