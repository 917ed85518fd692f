"""What a model costs: counted against the model itself."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Gemma2Config, LlamaConfig

from calgrid.errors import UserError
from calgrid.models.shape import GIB, Shape, duration, human, training_work
from calgrid.training.memory import STATE_BYTES, TrainingMemory, count_parameters, product_rate
from support.models import ARCHITECTURES, tiny_model

LLAMA_8B = LlamaConfig(
    vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32, num_key_value_heads=8
)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_are_the_models(architecture):
    model = tiny_model(architecture)
    assert count_parameters(model.config) == sum(weights.numel() for weights in model.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shape_without_torch_has_the_models_parameters(architecture, tmp_path):
    model = tiny_model(architecture)
    model.save_pretrained(tmp_path)
    shape = Shape.of_config(json.loads((tmp_path / "config.json").read_text()))
    assert shape.parameters == sum(weights.numel() for weights in model.parameters())
    assert training_work([7, 5], 6).flops(shape) == training_work([7, 5], 6).flops(model.config)


def test_shapes_of_configurations_that_leave_out_what_is_usual():
    llama = {
        "model_type": "llama",
        **{name: getattr(LLAMA_8B, name) for name in ("vocab_size", "hidden_size", "intermediate_size")},
        **{name: getattr(LLAMA_8B, name) for name in ("num_hidden_layers", "num_attention_heads")},
        "num_key_value_heads": 8,
    }
    assert Shape.of_config(llama).parameters == count_parameters(LLAMA_8B)
    gemma = Gemma2Config().to_dict()
    del gemma["tie_word_embeddings"]
    assert Shape.of_config(gemma).parameters == count_parameters(Gemma2Config())


def test_parameters_of_the_papers_models():
    assert count_parameters(LLAMA_8B) == pytest.approx(8.03e9, rel=0.001)
    assert count_parameters(Gemma2Config()) == pytest.approx(2.61e9, rel=0.002)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_flops_are_those_of_the_matrix_products(architecture):
    """Of attention's, half are of pairs that can't be seen, which are computed here and not needed."""
    model = tiny_model(architecture)
    model.set_attn_implementation("eager")  # whose products the counter sees
    n = 24
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.arange(n).unsqueeze(0))
    work = training_work([n], n)
    attention = 4 * model.config.num_hidden_layers * 4 * getattr(model.config, "head_dim", 8)
    unseen = attention * (n * n - work.pairs)
    assert work.flops(model.config) + unseen == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_pairs_are_within_a_conversation_alone():
    assert training_work([3, 2], 4).pairs == 6 + 3
    assert training_work([3, 2], 4).tokens == 5


def test_memory_is_shared_out_and_less_with_activation_checkpointing():
    memory = TrainingMemory(LLAMA_8B, 8192, 2048, True)
    state = STATE_BYTES * 8.03e9
    assert memory.bytes(1) > state
    assert memory.bytes(1) - memory.bytes(2) == pytest.approx(1.05 * state / 2, rel=0.001)
    assert memory.bytes(2) < TrainingMemory(LLAMA_8B, 8192, 2048, False).bytes(2)
    assert memory.bytes(2) < TrainingMemory(LLAMA_8B, 32_768, 2048, True).bytes(2)
    assert memory.gpus_needed(80 * GIB) == 2
    assert memory.gpus_needed(79 * GIB) == 4
    assert memory.gpus_needed(1 * GIB) is None


def test_what_does_not_fit_is_named_with_what_would():
    memory = TrainingMemory(LLAMA_8B, 8192, 2048, True)
    memory.check("the cell", 2, 80 * GIB)
    message = (
        r"'the cell': training takes about 142 GiB on each of 1 device\(s\), which have 79 GiB .* "
        r"GPUs that do: 32 of 24 GiB, 8 of 40 GiB, 8 of 48 GiB, 4 of 80 GiB, .*models.<name>.gpus"
    )
    with pytest.raises(UserError, match=message):
        memory.check("the cell", 1, 79 * GIB)


def test_a_products_rate_is_positive():
    assert product_rate() > 1e8


def test_sizes_in_words():
    assert (human(1), human(2.5 * GIB), human(2560 * GIB)) == ("1 MiB", "2.5 GiB", "2.5 TiB")
    assert list(map(duration, (7, 200, 8000, 90_000, 900_000))) == ["7 s", "3.3 min", "2.2 h", "25.0 h", "10.4 days"]
