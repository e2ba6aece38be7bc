"""Studies that a folder already holds: are they the wanted one, and what do they keep?"""

import shlex
from pathlib import Path

from archgym.errors import ArchGymError, StudyExistsError
from archgym.evaluation.task import Task
from archgym.studies.folder import STUDY_NAME
from archgym.studies.metadata import Header, read_header
from archgym.studies.prior import StoredPrior, StudySource
from archgym.studies.snapshot import StudyLog


def existing_study_error(folder: Path, wanted: Header) -> StudyExistsError | None:
    """Return the error for a folder that holds a study; None if no study can be read there."""
    try:
        difference = read_header(folder).difference(wanted)
    except ArchGymError:
        return None
    if difference is not None:
        return other_study_error(folder, difference)
    return StudyExistsError(
        f"{folder} holds a study of this task, agent and seed. Continue it with `Study.open`, with "
        f'exists="resume", or with: {_resume_command(folder)}'
    )


def other_study_error(folder: Path, difference: str) -> StudyExistsError:
    """Return the error for a folder that holds a study which differs from the wanted one."""
    return StudyExistsError(
        f"{folder} holds another study: {difference}. Choose another folder, or continue that "
        f"study with `Study.open`, or with: {_resume_command(folder)}"
    )


def _resume_command(folder: Path) -> str:
    return f"archgym resume {shlex.quote(str(folder))}"


def kept_prior(folder: Path, task: Task, sources: tuple[StudySource, ...]) -> StoredPrior | None:
    """Return the prior that the study in a folder keeps, if it is of these earlier studies.

    They may have grown or been deleted since, which does not change the study.
    """
    if not sources or not (folder / STUDY_NAME).is_file():
        return None
    header = read_header(folder)
    kept = header.warm_start or ()
    is_same = header.prior_digest is not None and header.task["digest"] == task.digest
    if not is_same or len(kept) != len(sources):
        return None
    for source, recorded in zip(sources, kept, strict=True):
        if isinstance(source, StudyLog):
            if source.header.id != recorded.study:
                return None
            continue
        place = Path(source)
        if place.resolve().name != recorded.folder:
            return None
        if (place / STUDY_NAME).is_file() and read_header(place).id != recorded.study:
            return None
    return StoredPrior.read(folder, task, kept, str(header.prior_digest))
