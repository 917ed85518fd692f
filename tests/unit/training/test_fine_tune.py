"""The training loop against plain PyTorch: padded batches, full logits, no packing."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from calgrid.errors import Interrupted, UserError
from calgrid.training.chat import Example
from calgrid.training.checkpoints import Checkpoints
from calgrid.training.fine_tune import Progress, Trainee, accumulate, learning_rate, validation_loss
from calgrid.training.settings import Training
from support.models import ARCHITECTURES, tiny_model
from support.training import after, conversations, examples, parameters, run, trained_model


def padded(batch: list[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, attention mask and labels (-100 where nothing is supervised), right-padded."""
    length = max(len(example.tokens) for example in batch)
    tokens, mask = torch.zeros(len(batch), length, dtype=torch.long), torch.zeros(len(batch), length, dtype=torch.long)
    labels = torch.full((len(batch), length), -100)
    for row, example in enumerate(batch):
        n = len(example.tokens)
        tokens[row, :n] = torch.tensor(example.tokens)
        mask[row, :n] = 1
        labels[row, :n] = torch.where(torch.tensor(example.supervised), tokens[row, :n], -100)
    return tokens, mask, labels


def plain_loss(model: PreTrainedModel, batch: list[Example], smoothing: float) -> torch.Tensor:
    tokens, mask, labels = padded(batch)
    logits = model(input_ids=tokens, attention_mask=mask).logits[:, :-1]
    return cross_entropy(logits.transpose(1, 2), labels[:, 1:], label_smoothing=smoothing, ignore_index=-100)


def plain_training(model, data, settings, lr, smoothing, seed):
    """Padded batches, full logits, PyTorch's own smoothed cross-entropy and schedule, no accumulation."""
    an_epoch = math.ceil(len(data) / settings.batch_size)
    steps = an_epoch * settings.epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    scheduler = get_linear_schedule_with_warmup(optimizer, math.ceil(0.02 * steps), steps)
    model.train()
    losses = []
    for epoch in range(settings.epochs):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()
        for place in range(an_epoch):
            batch = [data[i] for i in order[place * settings.batch_size : (place + 1) * settings.batch_size]]
            loss = plain_loss(model, batch, smoothing)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_equal_a_plain_loops_after_20_steps(architecture, smoothing):
    settings = Training(epochs=2, batch_size=4)
    ours, theirs = trained_model(architecture), tiny_model(architecture)
    before = parameters(ours)
    progress = run(ours, settings, smoothing=smoothing)
    losses = plain_training(theirs, examples(), settings, 2e-4, smoothing, 3)
    assert len(losses) == 20
    assert [record["loss"] for record in progress.curve] == pytest.approx(losses, abs=1e-5)
    assert torch.allclose(parameters(ours), parameters(theirs), rtol=0, atol=1e-5)
    assert (parameters(ours) - before).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_gradients_equal_those_of_one_conversation_at_a_time(architecture):
    """In float64, since rounding might hide what a neighbour does; Gemma2's softmax is float32 all the same."""
    tolerance = 1e-6 if architecture == "gemma2" else 1e-12
    ours, theirs = trained_model(architecture).double().train(), tiny_model(architecture).double().train()
    batch = examples(12)
    record = accumulate(Trainee(ours), conversations(batch), list(range(12)), 0.1, 64, Progress())
    n_labels = [sum(example.supervised) for example in batch]
    losses = [plain_loss(theirs, [example], 0.1) * n for example, n in zip(batch, n_labels, strict=True)]
    loss = sum(losses) / sum(n_labels)
    loss.backward()
    assert record["loss"] == pytest.approx(loss.item(), rel=tolerance)
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=0, atol=tolerance), name


def test_activation_checkpointing_changes_nothing():
    plain, recomputed = (trained_model("gemma2", dropout=0.1) for _ in range(2))
    recomputed.activation_checkpointing_enable()
    run(plain)
    run(recomputed)
    assert torch.allclose(parameters(plain), parameters(recomputed), rtol=0, atol=1e-6)


def test_results_do_not_depend_on_the_rows():
    curves = [run(trained_model("llama"), train_tokens=tokens).curve for tokens in (1, 10_000)]
    for one, other in zip(*curves, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    def trained(seed):
        model = trained_model("llama", dropout=0.1)
        run(model, seed=seed)
        return parameters(model)

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def test_dropout_is_on_the_attention_weights_in_training_alone():
    model = trained_model("llama", dropout=0.5)
    data = conversations(examples(5))
    with_dropout = accumulate(Trainee(model).train(), data, [0, 1, 2], 0.0, 64, Progress())["nll"]
    without = accumulate(Trainee(trained_model("llama")), data, [0, 1, 2], 0.0, 64, Progress())["nll"]
    assert with_dropout != pytest.approx(without, abs=1e-3)
    expected = validation_loss(Trainee(trained_model("llama")), data, 64)
    assert validation_loss(Trainee(model), data, 64) == pytest.approx(expected, abs=1e-6)


def test_schedule_is_transformers_own():
    settings = Training(warmup_share=0.1)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
    scheduler = get_linear_schedule_with_warmup(optimizer, 10, 100)
    for step in range(100):
        assert learning_rate(step, 100, settings, 1e-3) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


def test_validation_loss_is_the_mean_over_supervised_tokens_of_each_epoch():
    model, found = trained_model("llama"), examples(10)
    expected = plain_loss(tiny_model("llama"), found, 0.0).item()
    assert validation_loss(Trainee(model), conversations(found), 50) == pytest.approx(expected, abs=1e-5)
    progress = run(model)
    assert [record["step"] for record in progress.validation] == [10, 20]
    assert progress.validation[-1]["loss"] == validation_loss(Trainee(model), conversations(examples(5, seed=1)), 64)


def test_work_is_counted():
    progress = run(trained_model("llama"))
    data = conversations(examples())
    assert progress.tokens == 2 * data.lengths.sum()
    assert progress.supervised_tokens == 2 * data.n_supervised.sum()
    assert progress.tokens <= progress.places


@pytest.mark.parametrize("where", ["lm_head", "final norm"])
def test_a_loss_that_is_not_finite_stops_with_cell_step_and_batch(where):
    model = trained_model("llama")
    weights = {"lm_head": model.lm_head, "final norm": model.model.norm}[where].weight
    with torch.no_grad():
        weights.view(-1)[5] = float("inf")
    message = (
        r"^the cell: step 1 of 20: loss (nan|inf), gradient norm nan, not finite; its conversations are \d+, \d+, "
    )
    with pytest.raises(UserError, match=message):
        run(model, name="the cell")


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path):
    whole = trained_model("gemma2", dropout=0.1)
    expected = run(whole)
    checkpoints = Checkpoints(tmp_path, "tag")
    with pytest.raises(Interrupted, match=r"asked to stop after step 7 of 20; a checkpoint is written"):
        run(trained_model("gemma2", dropout=0.1), checkpoints=checkpoints, stopping=after(7))
    with pytest.raises(Interrupted, match=r"asked to stop after step 13 of 20"):
        run(trained_model("gemma2", dropout=0.1), checkpoints=checkpoints, stopping=after(6))
    resumed = trained_model("gemma2", dropout=0.1)
    found = run(resumed, checkpoints=checkpoints)
    assert found.curve == expected.curve
    assert found.validation == expected.validation
    assert torch.equal(parameters(resumed), parameters(whole))


def test_the_last_good_checkpoint_is_kept_until_the_next_is_complete(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "tag")
    with pytest.raises(Interrupted):
        run(trained_model("llama"), checkpoints=checkpoints, checkpoint_seconds=0, stopping=after(3))
    assert [path.name for path in (tmp_path / "tag").iterdir()] == ["step-000000003"]

    def full(*_, **__):
        (tmp_path / "tag/.tmp-step-000000004").mkdir()
        (tmp_path / "tag/.tmp-step-000000004/part").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("calgrid.training.checkpoints.distributed_checkpoint.save", full)
    with pytest.raises(UserError, match=r"step-000000004: the checkpoint can't be written .*No space left .*is kept"):
        run(trained_model("llama"), checkpoints=checkpoints, checkpoint_seconds=0)
    assert [path.name for path in (tmp_path / "tag").iterdir()] == ["step-000000003"]


def test_a_checkpoint_that_was_not_completed_is_not_read(tmp_path):
    half = tmp_path / "tag" / "step-000000009"
    half.mkdir(parents=True)
    assert Checkpoints(tmp_path, "tag").last() is None
    run(trained_model("llama"), checkpoints=Checkpoints(tmp_path, "tag"))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("__0_0.distcp", lambda data: data[:-100], r"it has \d+ bytes instead of"),
        ("__0_0.distcp", lambda data: data[:999] + bytes([data[999] ^ 1]) + data[1000:], "its bytes are not those"),
        (".metadata", lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], "its bytes are not those"),
        (".metadata", None, "no such file"),
        ("state.json", lambda data: data[:-9], "not readable as JSON"),
        ("state.json", lambda data: data.replace(b'"step": 3', b'"step": 4'), "its values are not those"),
        ("state.json", lambda data: b"{}", "has no 'progress'"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, name, damage, message):
    checkpoints = Checkpoints(tmp_path, "tag")
    with pytest.raises(Interrupted):
        run(trained_model("llama"), checkpoints=checkpoints, stopping=after(3))
    (path,) = (tmp_path / "tag").rglob(name)
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    expected = rf"step-000000003: this checkpoint can't be read \(.*{message}.*delete it, and training starts anew"
    with pytest.raises(UserError, match=expected):
        run(trained_model("llama"), checkpoints=checkpoints)


def test_a_checkpoint_of_another_configuration_is_neither_read_nor_lost(tmp_path):
    with pytest.raises(Interrupted):
        run(trained_model("llama"), checkpoints=Checkpoints(tmp_path, "one"), stopping=after(3))
    other = Checkpoints(tmp_path, "other")
    assert other.last() is None
    assert run(trained_model("llama"), checkpoints=other).step == 20
    assert Checkpoints(tmp_path, "one").last() is not None
    other.remove()
    assert not tmp_path.exists()
