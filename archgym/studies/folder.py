"""A study's folder: the names of its files, and how a new one is taken."""

import shlex
from pathlib import Path

from archgym.errors import InvalidArgumentError
from archgym.files.lease import LOCK_NAME, Lease
from archgym.files.storage import is_there, make_folder, open_member, storage_errors, synchronise

RUNS_FOLDER = Path("runs")
"""Folder of studies whose own folder is not named."""
STUDY_NAME = "study.json"
"""Description of the study."""
JOURNAL_NAME = "journal.jsonl"
"""Its records."""
BAD_NAME = "journal.bad"
"""Damaged lines of the journal that were set aside."""
TIMING_NAME = "timing.jsonl"
"""Wall times of its records."""
POLICY_NAME = "policy.npz"
"""Policy that the agent has learned, if any."""
SESSIONS_NAME = "sessions.jsonl"
"""Wall time and evaluations of each session, one a line."""
STATE_NAME = "state.json"
"""Progress of the last writer; informative only."""


def lease_new_folder(folder: Path) -> Lease:
    """Make a folder for a new study, or take an empty one, and its lease.

    Raises:
      InvalidArgumentError: It holds something.
      StudyLockedError: Another process has just started a study there.
      StorageError: It cannot be written.
    """
    make_folder(folder)
    with storage_errors(folder, "read"):
        names = {path.name for path in folder.iterdir()}
    # A lock without a study is left by a process that was killed as it began, or holds one now.
    if names and LOCK_NAME not in names:
        raise InvalidArgumentError(
            f"A study needs a new or empty folder; {folder} holds {min(names)!r}. "
            "Choose another name."
        )
    lease = Lease(folder)
    with storage_errors(folder, "written"):
        # After a power cut, files without the lock would be somebody else's.
        synchronise(folder)
    if is_there(folder / STUDY_NAME) or _has_content(folder / JOURNAL_NAME):
        lease.release()
        raise InvalidArgumentError(
            f"A study needs a new or empty folder; {folder} holds a study. Continue it with "
            '`Study.open`, with exists="resume", or with: '
            f"archgym resume {shlex.quote(str(folder))}"
        )
    return lease


def _has_content(path: Path) -> bool:
    if not is_there(path):
        return False
    with open_member(path) as handle:
        return bool(handle.read(1))
