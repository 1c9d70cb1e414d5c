"""The end of a job as its node wrote it: a small file, which is there long after Slurm has forgotten the job."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from zoo.paths import read_json, written_whole
from zoo.run.launcher import JobState, exit_state

STOPPED = 75
"""Exit code of a cell that was stopped and goes on when it is run again (`zoo.run.launcher.Job`)."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """End of the process of a cell.

    Args:
        code: Exit code, or minus the signal that killed it.
        host: Node.
        detail: Words where the process was not started.
    """

    code: int
    host: str = ""
    detail: str = ""

    def state(self) -> JobState:
        """Return the state that it stands for."""
        if self.detail:
            return JobState(kind="ended", reason="failed", detail=self.detail)
        state = exit_state(self.code, where=self.host)
        if self.code == -signal.SIGKILL:
            return replace(state, detail=f"{state.detail}: try --launcher-set memory_gb=NUMBER")
        return state


def ending_path(folder: Path, job_id: str) -> Path:
    """Return the path of the file."""
    return folder / f"{job_id}_end.json"


def write_ending(folder: Path, job_id: str, ending: Ending) -> None:
    """Write the end of a job.

    Raises:
        DataError: The file cannot be written.
    """
    with written_whole(ending_path(folder, job_id)) as temporary:
        temporary.write_text(json.dumps(asdict(ending)), encoding="utf-8")


def read_ending(folder: Path, job_id: str) -> Ending | None:
    """Return the end of a job; None where no file is there, or a damaged one."""
    try:
        content = read_json(ending_path(folder, job_id))
        code, host, detail = content["code"], content["host"], content["detail"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if type(code) is not int or not isinstance(host, str) or not isinstance(detail, str):
        return None
    return Ending(code=code, host=host, detail=detail)
