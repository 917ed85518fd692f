"""Full fine-tuning with label smoothing: one path for every smoothing, so that arms differ in it alone.

A step takes `batch_size` conversations, packed into rows (`training.packing`); its loss is the mean over all their
supervised tokens, over all rows and processes. Weights and optimiser state are float32 everywhere; on a GPU the
forward and backward passes compute in bfloat16 (`training.sharding`). What a step does depends on the seed and the
step alone, so that a resumed training is the uninterrupted one.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta

import torch
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from calgrid.errors import Interrupted, UserError
from calgrid.models.loading import device, soft_cap
from calgrid.models.shape import training_work
from calgrid.store.files import content_hash
from calgrid.training import packing, sharding
from calgrid.training.checkpoints import Checkpoints
from calgrid.training.loss import smoothed_cross_entropy
from calgrid.training.memory import product_rate
from calgrid.training.packing import Conversations, Row
from calgrid.training.settings import Training

log = logging.getLogger(__name__)

LOG_SECONDS = 10
NAMED = 3  # conversations that a message names


class Trainee(torch.nn.Module):
    """Body and loss in one call, which gathers what is sharded."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, row: Row, smoothing: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The losses of `smoothed_cross_entropy`, summed over the row's N supervised tokens."""
        body = self.model.model(input_ids=row.tokens, position_ids=row.positions, use_cache=False, blocks=row.blocks)
        hidden = body.last_hidden_state.squeeze(0).index_select(0, row.places)  # (N, D)
        head = self.model.lm_head.weight
        return smoothed_cross_entropy(hidden, head, row.labels, smoothing, soft_cap(self.model))


@dataclass
class Progress:
    """What has been trained so far."""

    step: int = 0  # steps done
    seconds: float = 0.0
    tokens: int = 0
    supervised_tokens: int = 0
    places: int = 0  # tokens of the rows, were each as long as its step's longest
    flops: float = 0.0  # needed at least
    curve: list[dict[str, float]] = field(default_factory=list)  # a step: lr, loss, nll, grad_norm
    validation: list[dict[str, float]] = field(default_factory=list)  # an epoch: step, loss


def learning_rate(step: int, steps: int, settings: Training, peak: float) -> float:
    """Linear warm-up over `warmup_share` of the steps, then linear decay to 0; `step` counts from 0."""
    warm_up = math.ceil(settings.warmup_share * steps)
    if step < warm_up:
        return peak * step / warm_up
    return peak * (steps - step) / max(1, steps - warm_up)


def shared_out(members: list[list[int]]) -> list[tuple[list[int], float]]:
    """The rows of a step that this process computes, each with its weight: as many for each process.

    Where there are too few, a process computes the first row once more with the weight 0, since all must take part
    when weights are gathered.
    """
    n, me = sharding.n_processes(), sharding.rank()
    turns = math.ceil(len(members) / n)
    return [(members[i], 1.0) if (i := turn * n + me) < len(members) else (members[0], 0.0) for turn in range(turns)]


@torch.no_grad()
def validation_loss(trainee: Trainee, conversations: Conversations, train_tokens: int) -> float:
    """Mean negative log-likelihood of the supervised tokens, without smoothing, in nats a token."""
    trainee.eval()
    nll = torch.zeros((), dtype=torch.float64, device=device())
    rows = packing.rows(conversations.lengths.tolist(), train_tokens, sharding.n_processes())
    for members, weight in shared_out(rows):
        nll += weight * trainee(packing.lay_out(conversations, members).to(device()), 0.0)[1]
    trainee.train()
    return sharding.total([nll.item()])[0] / int(conversations.n_supervised.sum())


def fine_tune(
    model: PreTrainedModel,
    train: Conversations,
    validation: Conversations,
    settings: Training,
    *,
    lr: float,
    smoothing: float,
    seed: int,
    train_tokens: int,
    name: str = "training",
    checkpoints: Checkpoints | None = None,
    checkpoint_seconds: float = math.inf,
    stopping: Callable[[], bool] = lambda: False,
    compute_dtype: torch.dtype | None = None,
) -> Progress:
    """Train `model` in place; from the last checkpoint on, where there is one.

    Args:
        model: on the CPU, with the attention `calgrid.models.attention.NAME`.
        train: each epoch takes all of them, in an order of its own.
        validation: their loss is measured after each epoch.
        settings: see `settings.Training`.
        lr: peak learning rate.
        smoothing: of the labels, in [0, 1).
        seed: of order and dropout.
        train_tokens: tokens of a row at most; a longer conversation has a row to itself.
        name: the cell, for messages.
        checkpoints: where to.
        checkpoint_seconds: of training between two checkpoints.
        stopping: asked after each step; True writes a checkpoint and raises Interrupted.
        compute_dtype: see `sharding.prepare`.

    Raises:
        Interrupted: `stopping` said so.
        UserError: loss or gradient is not finite; names the cell, the step and its conversations.
    """
    trainee = Trainee(model)
    sharding.prepare(model, trainee, compute_dtype)
    optimizer = torch.optim.AdamW(
        trainee.parameters(),
        lr=lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    progress = Progress()
    if checkpoints and (last := checkpoints.last()):
        progress = Progress(**checkpoints.load(last, trainee, optimizer))
        log.info("going on after step %d, from %s", progress.step, last)
    trainee.train()
    an_epoch = packing.steps_an_epoch(len(train), settings.batch_size)
    steps = an_epoch * settings.epochs
    report = Report(steps, progress)
    saved = time.monotonic()
    while progress.step < steps:
        step = progress.step
        torch.manual_seed(int(content_hash(f"{seed} {step} {sharding.rank()}"), 16) >> 1)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, settings, lr)
        batch = packing.batch(len(train), settings.batch_size, seed, step)
        record = accumulate(trainee, train, batch, smoothing, train_tokens, progress)
        norm = torch.nn.utils.clip_grad_norm_(trainee.parameters(), settings.max_grad_norm)
        record["grad_norm"] = (norm.full_tensor() if isinstance(norm, DTensor) else norm).item()
        if not all(map(math.isfinite, record.values())):
            ids = [train.ids[i] for i in batch]
            raise UserError(
                f"{name}: step {step + 1} of {steps}: loss {record['loss']}, gradient norm {record['grad_norm']}, not "
                f"finite; its conversations are {', '.join(ids[:NAMED])}{', ...' if len(ids) > NAMED else ''}; lower "
                f"the learning rate ({lr:g}), or look at these"
            )
        optimizer.step()
        optimizer.zero_grad()
        progress.step += 1
        progress.curve.append({"lr": optimizer.param_groups[0]["lr"], **record})
        if progress.step % an_epoch == 0:
            loss = validation_loss(trainee, validation, train_tokens)
            progress.validation.append({"step": progress.step, "loss": loss})
            log.info("epoch %d: validation loss %.4f nats a token", progress.step // an_epoch, loss)
        report.after_step()

        due = time.monotonic() - saved >= checkpoint_seconds
        asked, due = map(bool, sharding.total([stopping(), due]))
        done = progress.step == steps
        if checkpoints and ((checkpoints.last() is not None) if done else (asked or due)):
            checkpoints.save(progress.step, trainee, optimizer, asdict(progress))
            saved = time.monotonic()
            log.info("checkpoint after step %d", progress.step)
        if asked and not done:
            goes_on = "a checkpoint is written, and the same command goes on from there" if checkpoints else "run again"
            raise Interrupted(f"{name}: asked to stop after step {progress.step} of {steps}; {goes_on}")
    trainee.eval()
    return progress


def accumulate(
    trainee: Trainee,
    train: Conversations,
    batch: list[int],
    smoothing: float,
    train_tokens: int,
    progress: Progress,
) -> dict[str, float]:
    """The gradient of a step's loss, its mean over the supervised tokens of the whole batch; counts the work.

    Returns:
        loss and nll (without smoothing), nats a supervised token.
    """
    lengths = train.lengths[batch].tolist()
    rows = packing.rows(lengths, train_tokens, sharding.n_processes())
    n_labels = int(train.n_supervised[batch].sum())
    sums = torch.zeros(2, dtype=torch.float64, device=device())
    for members, weight in shared_out(rows):
        row = packing.lay_out(train, [batch[i] for i in members])
        loss, nll = trainee(row.to(device()), smoothing)
        (loss * (weight * sharding.n_processes() / n_labels)).backward()  # FSDP takes the mean over processes
        sums += weight * torch.stack([loss.detach(), nll])
    loss_sum, nll_sum = sharding.total(sums.tolist())
    progress.tokens += sum(lengths)
    progress.supervised_tokens += n_labels
    progress.places += len(rows) * max(sum(lengths[i] for i in row) for row in rows)
    progress.flops += 3 * training_work(lengths, n_labels).flops(trainee.model.config)
    return {"loss": loss_sum / n_labels, "nll": nll_sum / n_labels}


class Report:
    """The log's lines: loss, speed, the share of the hardware that is used, and the time left."""

    def __init__(self, steps: int, progress: Progress) -> None:
        self.steps, self.progress, self.before = steps, progress, replace(progress)
        self.peak = product_rate() * sharding.n_processes()
        log.info("a matrix product reaches %.3g TFLOP/s on %d device(s)", self.peak / 1e12, sharding.n_processes())
        self.started = self.logged = time.monotonic()

    def after_step(self) -> None:
        now, done = time.monotonic(), self.progress
        done.seconds = self.before.seconds + now - self.started
        if now - self.logged < LOG_SECONDS and done.step < self.steps:
            return
        self.logged = now
        seconds, steps = now - self.started, done.step - self.before.step
        log.info(
            "step %d/%d  loss %.4f  %.0f tokens/s, %.0f of them supervised, %.0f %% of the products' rate  %s left",
            done.step,
            self.steps,
            done.curve[-1]["loss"],
            (done.tokens - self.before.tokens) / seconds,
            (done.supervised_tokens - self.before.supervised_tokens) / seconds,
            100 * (done.flops - self.before.flops) / seconds / self.peak,
            timedelta(seconds=round(seconds / steps * (self.steps - done.step))),
        )
