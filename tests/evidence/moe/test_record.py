"""Routing recorded from tiny models of transformers, made from a configuration."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from evidence.moe.record import gates, record, record_folder

# Importing them takes seconds, which only these tests should cost.
pytestmark = pytest.mark.slow

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.fixture(autouse=True, scope="module")
def _libraries() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")


def tiny_mixtral() -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        **SIZES, intermediate_size=8, num_local_experts=6, num_experts_per_tok=2
    )
    return transformers.MixtralForCausalLM(config)


def tiny_qwen() -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.Qwen2MoeConfig(
        **SIZES,
        intermediate_size=8,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
        num_experts=12,
        num_experts_per_tok=3,
        decoder_sparse_step=2,
    )
    model = transformers.Qwen2MoeForCausalLM(config)
    for gate in gates(model).values():
        # transformers leaves these at nothing, which would make every expert equal.
        torch.nn.init.normal_(gate.weight)
    return model


def test_mixtral_is_recorded_as_its_own_router_logits_say() -> None:
    import torch

    model = tiny_mixtral()
    documents = [[5, 9, 1, 7], [3, 3, 96]]

    found = record(model, documents)

    assert found.experts.shape == (7, 3, 2)
    assert (found.n_experts, found.starts.tolist()) == (6, [0, 4, 7])
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor([documents[0]]), output_router_logits=True
        ).router_logits
    for layer in range(3):
        wanted = logits[layer].reshape(4, 6).topk(2, dim=1).indices.sort(dim=1).values
        assert np.sort(found.experts[:4, layer], axis=1).tolist() == wanted.tolist()


def test_qwen_is_recorded_in_its_sparse_layers_alone() -> None:
    found = record(tiny_qwen(), [[1, 2, 3], [4]])

    assert found.experts.shape == (4, 1, 3)
    assert found.n_experts == 12


def test_folder_is_recorded_without_a_network(tmp_path: Path) -> None:
    tiny_mixtral().save_pretrained(tmp_path / "tiny")

    first = record_folder(tmp_path / "tiny", None, 3, 8, 1)
    again = record_folder(tmp_path / "tiny", None, 3, 8, 1)

    assert first.experts.shape == (24, 3, 2)
    assert first.digest == again.digest
    assert first.name == "tiny"


def test_lines_of_a_text_are_documents(tmp_path: Path) -> None:
    import tokenizers
    import transformers

    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<unk>": 0, "one": 1, "two": 2}, unk_token="<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    folder = tmp_path / "tiny"
    tiny_mixtral().save_pretrained(folder)
    tokenizer: Any = transformers.PreTrainedTokenizerFast
    tokenizer(tokenizer_object=words).save_pretrained(folder)
    (tmp_path / "lines.txt").write_text("one two one\n\ntwo three\none\n")

    found = record_folder(folder, tmp_path / "lines.txt", 2, 8, 0)

    assert found.starts.tolist() == [0, 3, 5]
    assert found.digest == record(tiny_mixtral(), [[1, 2, 1], [2, 0]]).digest
    (tmp_path / "bad.txt").write_bytes(b"one\n\xff\n")
    with pytest.raises(FileFormatError, match="UTF-8"):
        record_folder(folder, tmp_path / "bad.txt", 2, 8, 0)


def test_model_without_experts_is_refused() -> None:
    import transformers

    config = transformers.LlamaConfig(**SIZES, intermediate_size=8)

    with pytest.raises(InvalidArgumentError, match="experts"):
        record(transformers.LlamaForCausalLM(config), [[1]])


def test_no_document_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="documents"):
        record(None, [])


def test_bad_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")

    with pytest.raises(FileFormatError) as refused:
        record_folder(tmp_path, None, 1, 1, 0)
    with pytest.raises(StorageError):
        record_folder(tmp_path / "absent", None, 1, 1, 0)

    assert "\n" not in str(refused.value)


def test_weights_as_pickle_are_refused(tmp_path: Path) -> None:
    import torch

    model = tiny_mixtral()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")

    with pytest.raises(FileFormatError, match="safetensors"):
        record_folder(tmp_path, None, 1, 1, 0)
