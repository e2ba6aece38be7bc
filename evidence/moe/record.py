"""Record of the routing of a real model: hooks on the gates of Hugging Face transformers.

    python -m evidence.moe.record FOLDER OUT.routing.npz [TEXT]

Nothing is downloaded: a model comes as an object, or from a folder. The gates are those modules
whose result names the chosen experts, or whose logits have one number an expert.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.checks import check_whole
from archgym.errors import FileFormatError, InvalidArgumentError, MissingExtraError
from archgym.files.storage import storage_errors
from archgym.runtime.reductions import report_reduction
from archgym.simulators.moe.workloads.routing import Routing
from archgym.simulators.moe.workloads.routing_trace import check_ending, write_routing

# Names that configurations of transformers give to a layer's experts and to those of a token.
_EXPERT_NAMES: Final = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_TOP_K_NAMES: Final = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k")
# Last part of a gate's name in transformers: JetMoE and Switch have the second.
_GATE_NAMES: Final = ("gate", "router")
_MAX_TEXT_BYTES: Final = 2**28


def gates(model: Any) -> dict[str, Any]:
    """Return the gates of a model by name, in the order of its layers.

    Raises:
      InvalidArgumentError: The model has no experts.
    """
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        last = name.rsplit(".", 1)[-1]
        # A gate inside an expert's network scales its inner vector and chooses nothing.
        is_gate = last in _GATE_NAMES and ".experts." not in name
        if is_gate and not any(name.startswith(f"{known}.") for known in found):
            found[name] = module
    if not found:
        raise InvalidArgumentError(
            f"The model must have modules named {' or '.join(_GATE_NAMES)} that choose experts; "
            f"{type(model).__name__} has none."
        )
    return found


def record(model: Any, documents: Sequence[Sequence[int]], name: str = "") -> Routing:
    """Run a model on documents, one after the other, and record its choices.

    Args:
      model: A causal model of transformers.
      documents: Ids of tokens.
      name: Name of the routing.

    Raises:
      InvalidArgumentError: The model has no gates, or a gate's result is not understood.
      MissingExtraError: torch is not installed.
    """
    torch = _torch()
    if not documents or any(not len(document) for document in documents):
        raise InvalidArgumentError("`documents` must be one or more, each with a token or more.")
    config = model.config
    n_experts = _setting(config, _EXPERT_NAMES, "experts")
    top_k = _setting(config, _TOP_K_NAMES, "experts of a token")
    found = gates(model)
    taken: dict[str, Any] = {}
    parts = []
    was_training = model.training
    model.eval()
    try:
        with _hooks(found, taken), torch.inference_mode():
            for document in documents:
                taken.clear()
                ids = torch.tensor([list(map(int, document))], dtype=torch.long)
                model(input_ids=ids.to(next(model.parameters()).device))
                layers = [
                    _choices(gate, taken[gate], len(document), n_experts, top_k)
                    for gate in found
                    if gate in taken
                ]
                parts.append(np.stack(layers, axis=1))
    finally:
        model.train(was_training)
    lengths = [len(document) for document in documents]
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Routing(np.concatenate(parts), starts, n_experts, name or type(model).__name__)


@contextmanager
def _hooks(found: Mapping[str, Any], taken: dict[str, Any]) -> Iterator[None]:
    """Keep what each gate returned last in `taken`."""

    def keep(gate: str) -> Any:
        def hook(module: Any, given: Any, result: Any) -> None:
            taken[gate] = result

        return hook

    handles = [module.register_forward_hook(keep(gate)) for gate, module in found.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _choices(
    gate: str, result: Any, n_tokens: int, n_experts: int, top_k: int
) -> npt.NDArray[np.int16]:
    """Return experts of each token, (n_tokens, top_k), from whatever a gate returned.

    Releases of transformers differ: a gate returns logits alone, or with scores and indices.
    """
    parts = result if isinstance(result, tuple | list) else (result,)
    tensors = [part for part in parts if hasattr(part, "is_floating_point")]
    for tensor in tensors:
        if not tensor.is_floating_point() and tensor.numel() == n_tokens * top_k:
            chosen = tensor.reshape(n_tokens, top_k)
            return np.asarray(chosen.cpu().numpy().astype(np.int16))
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel() == n_tokens * n_experts:
            logits = tensor.reshape(n_tokens, n_experts).float()
            return np.asarray(logits.topk(top_k, dim=1).indices.cpu().numpy().astype(np.int16))
    shapes = [tuple(tensor.shape) for tensor in tensors]
    raise InvalidArgumentError(
        f"Gate {gate!r} must return {top_k} indices or {n_experts} logits a token; its tensors "
        f"have shapes {shapes} for {n_tokens} tokens."
    )


def _setting(config: Any, names: Sequence[str], what: str) -> int:
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int) and value >= 1:
            return value
    raise InvalidArgumentError(
        f"The model's configuration must give its {what} as one of {', '.join(names)}; it does "
        "not. It may have no experts."
    )


def record_folder(
    folder: Path, text: Path | None, n_documents: int, max_tokens: int, seed: int
) -> Routing:
    """Run the model in a folder on the lines of a text, or on drawn tokens.

    Args:
      folder: Output of `save_pretrained`: config.json, weights in safetensors, and for a text
        the tokenizer. No code of the folder is run.
      text: A UTF-8 file with a document a line; None for tokens of chance.
      n_documents: Largest number of documents.
      max_tokens: Largest number of tokens of each.
      seed: Random seed of drawn tokens.

    Raises:
      FileFormatError: The folder holds no model, or the text no document.
      StorageError: A file cannot be read.
      MissingExtraError: transformers is not installed.
    """
    check_whole("n_documents", n_documents, 1)
    check_whole("max_tokens", max_tokens, 1)
    _torch()
    try:
        transformers: Any = import_module("transformers")
    except ImportError:
        raise MissingExtraError("transformers", "moe-record") from None
    with storage_errors(folder / "config.json", "read"):
        (folder / "config.json").open("rb").close()
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _one_line(folder, "a model of transformers"):
        # Weights as safetensors only: the older format is a pickle.
        loaded = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), use_safetensors=True, **options
        )
    if text is None:
        rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
        documents = rng.integers(0, loaded.config.vocab_size, (n_documents, max_tokens)).tolist()
        return record(loaded, documents, folder.resolve().name)
    with _one_line(folder, "a tokenizer of transformers"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **options)
    lines = [line for line in _lines(text) if line.strip()]
    documents = []
    n_tokens = n_lines = 0
    for line in lines:
        n_lines += 1
        ids = tokenizer(line)["input_ids"]
        n_tokens += len(ids)
        if ids:
            documents.append(ids[:max_tokens])
        if len(documents) == n_documents:
            break
    report_reduction("lines of the text", n_lines, len(lines), "record more documents")
    used = sum(map(len, documents))
    report_reduction("tokens of the documents", used, n_tokens, "record more tokens of each")
    if not documents:
        raise FileFormatError(text, None, "the text must have a line with tokens; it has none")
    return record(loaded, documents, folder.resolve().name)


@contextmanager
def _one_line(folder: Path, what: str) -> Iterator[None]:
    """Turn what transformers says of a bad folder into one line."""
    try:
        yield
    except Exception as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileFormatError(
            folder, None, f"the folder must hold {what}; {words.rstrip('.')}", "Save it again"
        ) from error


def _lines(path: Path) -> Iterator[str]:
    with storage_errors(path, "read"), path.open("rb") as handle:
        content = handle.read(_MAX_TEXT_BYTES + 1)
    if len(content) > _MAX_TEXT_BYTES:
        raise FileFormatError(path, None, f"the text must have at most {_MAX_TEXT_BYTES} bytes")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FileFormatError(path, line, "the text must be UTF-8; it is not") from None
    yield from (line for line in lines if line.strip())


def _torch() -> Any:
    try:
        return import_module("torch")
    except ImportError:
        raise MissingExtraError("torch", "moe-record") from None


def main() -> None:
    """Record 64 documents of 512 tokens at most, lines of the text or random tokens."""
    folder, out, *text = map(Path, sys.argv[1:])
    check_ending(out)
    write_routing(out, record_folder(folder, text[0] if text else None, 64, 512, 0))


if __name__ == "__main__":
    main()
