"""Datasets on the Hugging Face hub: the folder that is uploaded, checked before it leaves."""

import importlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from archgym.datasets.card import CARD_NAME
from archgym.datasets.croissant import CROISSANT_NAME
from archgym.datasets.integrity import MANIFEST_NAME, write_manifest
from archgym.datasets.stored import DATA_FOLDER, open_stored
from archgym.datasets.verification import verify_dataset
from archgym.errors import (
    ArchGymError,
    FileFormatError,
    InvalidArgumentError,
    MissingExtraError,
    StorageError,
)
from archgym.files.remote import local_copy
from archgym.files.storage import atomic_folder, write_atomic

_SITE: Final = "https://huggingface.co/datasets"
_READING: Final = "## Reading it\n"
_FROM_HUB: Final = """\
## Loading it

```python
from datasets import load_dataset

rows = load_dataset("{repository}")
```

"""
_REMEDY: Final = "Build the dataset again with `archgym dataset build`"
_MAX_PROBLEM: Final = 300


@final
@dataclass(frozen=True)
class Pushed:
    """Dataset on the hub, or what would be uploaded.

    Attributes:
      repository: Owner and name.
      url: Page of the dataset.
      files: Size of each file [bytes], by its name in the repository.
      rows: Evaluations in all files.
      is_uploaded: False after a dry run.
      folder: Folder that a dry run wrote, None otherwise.
    """

    repository: str
    url: str
    files: Mapping[str, int]
    rows: int
    is_uploaded: bool
    folder: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "repository": self.repository,
            "url": self.url,
            "files": dict(self.files),
            "rows": self.rows,
            "is_uploaded": self.is_uploaded,
            "folder": None if self.folder is None else str(self.folder),
        }


def push_dataset(
    dataset: str | Path,
    repository: str,
    *,
    dry_run: bool = False,
    out: str | Path | None = None,
    private: bool = False,
    api: Any = None,
) -> Pushed:
    """Upload a dataset to the Hugging Face hub in one commit.

    The token is the one that `hf auth login` stored, or that `HF_TOKEN` holds; ArchGym never sees
    it. The files are checked first, without the network.

    Args:
      dataset: Folder that `build_dataset` wrote, or its URL.
      repository: Owner and name, such as "user/dram-evaluations"; it is made if it is absent.
      dry_run: True to write the folder to `out` and upload nothing.
      out: New folder for a dry run; by default the name of the repository.
      private: True to make a new repository private.
      api: Client that uploads, `huggingface_hub.HfApi()` by default.

    Raises:
      InvalidArgumentError: The repository's name is invalid, `out` exists, or the dataset is a
        single file.
      FileFormatError: The dataset is damaged.
      MissingExtraError: `huggingface_hub` is not installed.
      StorageError: A file cannot be read or written, or the hub refuses.
    """
    if out is not None and not dry_run:
        raise InvalidArgumentError("`out` is for a dry run, which uploads nothing; add `dry_run`.")
    _check_repository(repository)
    url = f"{_SITE}/{repository}"
    if dry_run:
        folder = Path(repository.rpartition("/")[2] if out is None else out)
        files, rows = write_hub_folder(dataset, repository, folder)
        return Pushed(repository, url, files, rows, False, folder)
    with tempfile.TemporaryDirectory(prefix="archgym-hub-") as scratch:
        folder = Path(scratch) / "dataset"
        files, rows = write_hub_folder(dataset, repository, folder)
        client = _hub().HfApi() if api is None else api
        with _hub_errors(repository):
            client.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
            client.upload_folder(
                repo_id=repository,
                repo_type="dataset",
                folder_path=str(folder),
                commit_message=f"Add {rows} evaluations",
                # Parts of an earlier version would be read with those of this one.
                delete_patterns=[f"{DATA_FOLDER}/*"],
            )
    return Pushed(repository, url, files, rows, True)


def write_hub_folder(
    dataset: str | Path, repository: str, out: str | Path
) -> tuple[dict[str, int], int]:
    """Write the folder that is uploaded: card, Parquet, Croissant metadata, checksums.

    Returns:
      Size of each file [bytes] by name, and the number of rows.

    Raises:
      InvalidArgumentError: `out` exists, or the dataset is a single file.
      FileFormatError: The dataset is damaged.
      StorageError: A file cannot be read or written.
    """
    source = local_copy(dataset)
    if source.is_file():
        raise InvalidArgumentError(
            f"A dataset for the hub must be a folder with a card; {source} is a file. Build one "
            "with `archgym dataset build STUDY --out FOLDER`."
        )
    found = verify_dataset(source, sample=0)
    if found.problems:
        problem = found.problems[0].removesuffix(".")
        raise FileFormatError(source, None, f"the dataset does not verify: {problem}", _REMEDY)
    stored = open_stored(source)
    with atomic_folder(out) as folder:
        (folder / DATA_FOLDER).mkdir()
        names = [f"{DATA_FOLDER}/{file.path.name}" for file in stored.files]
        for name in names:
            shutil.copyfile(source / name, folder / name)
        card = _text(source / CARD_NAME)
        start = card.find(_READING)
        loading = _FROM_HUB.format(repository=repository)
        write_atomic(folder / CARD_NAME, card[:start] + loading + card[start:])
        croissant = _croissant(source / CROISSANT_NAME) | {"url": f"{_SITE}/{repository}"}
        text = json.dumps(croissant, indent=1, ensure_ascii=False) + "\n"
        write_atomic(folder / CROISSANT_NAME, text)
        write_manifest(folder, [CARD_NAME, CROISSANT_NAME, *names])
        rows = {f"{DATA_FOLDER}/{file.path.name}": file.n_rows for file in stored.files}
        files = _checked(folder, [CARD_NAME, CROISSANT_NAME, MANIFEST_NAME, *names], rows)
    return files, stored.n_rows


def _checked(folder: Path, names: list[str], rows: Mapping[str, int]) -> dict[str, int]:
    """Return sizes of the files of a folder, after the hub's own checks of each and of the card."""
    hub = _hub()
    card = folder / CARD_NAME
    sizes = {}
    with _refusals(card):
        header = hub.DatasetCard.load(card).data.to_dict()
        for name in names:
            # It checks the name, and reads the file for the digest by which the hub knows it.
            operation = hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name)
            sizes[name] = operation.upload_info.size
        if not isinstance(header.get("license"), str):
            raise ValueError("`license` must be a text")
        declared = {
            part["path"]: part["split"]
            for config in header["configs"]
            for part in config["data_files"]
        }
        counts = {s["name"]: s["num_examples"] for s in header["dataset_info"]["splits"]}
        for name, n in rows.items():
            if counts.get(declared.get(name)) != n:
                raise ValueError(f"`dataset_info` must count {n} rows in {name}")
        if declared.keys() != rows.keys():
            raise ValueError(f"`configs` must name the data files {', '.join(rows)}")
        columns = [feature["name"] for feature in header["dataset_info"]["features"]]
        if columns != open_stored(folder).files[0].schema.names:
            raise ValueError("`dataset_info` must name the columns of the data files in order")
    return sizes


def _check_repository(repository: str) -> None:
    _hub()
    utils: Any = importlib.import_module("huggingface_hub.utils")
    try:
        utils.validate_repo_id(repository)
        is_valid = repository.count("/") == 1
    except ValueError:
        is_valid = False
    if not is_valid:
        raise InvalidArgumentError(
            "A repository on the hub must be an owner and a name, such as user/dram-evaluations; "
            f"got {repository[:100]!r}."
        )


def _croissant(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(_text(path))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise FileFormatError(path, None, "Croissant metadata must be a JSON object", _REMEDY)
    return data


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise FileFormatError(path, None, "the file must be UTF-8 text", _REMEDY) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from None


@contextmanager
def _refusals(card: Path) -> Iterator[None]:
    """Turn what the hub's library says of a file into one line."""
    try:
        yield
    except ArchGymError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = " ".join(str(error).split())[:_MAX_PROBLEM].removesuffix(".")
        raise FileFormatError(
            card, None, f"the hub would refuse this card: {problem}", _REMEDY
        ) from None


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    """Turn refusals of the hub into one line; its library keeps tokens out of them."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403) or type(error).__name__ == "LocalTokenNotFoundError":
            problem = "access is denied. Log in with `hf auth login`, or set HF_TOKEN"
        else:
            problem = " ".join(str(error).split())[:_MAX_PROBLEM].removesuffix(".")
        raise StorageError(f"{repository} cannot be written to the hub: {problem}.") from None


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtraError("huggingface_hub", "hub") from None
    return huggingface_hub
