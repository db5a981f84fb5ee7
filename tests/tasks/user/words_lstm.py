"""Sequences of words: an LSTM says the next one of each; the task is a language model's."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from compressor.tasks import Scores, Task

WORDS, LENGTH = 12, 10


class Reader(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.hidden = nn.Linear(width, 2 * width)
        self.last = nn.Linear(2 * width, WORDS)

    def forward(self, words):
        states, _ = self.lstm(self.embedding(words))
        return self.last(F.relu(self.hidden(states)))


class LanguageModel(Task):
    """Next words by cross-entropy; perplexity."""

    primary = "perplexity"
    larger_is_better = False

    def inputs(self, batch):
        return batch["words"][:, :-1]

    def _losses(self, model, batch):
        logits = self.outputs(model, batch)
        return F.cross_entropy(logits.transpose(1, 2), batch["words"][:, 1:], reduction="none")

    def loss(self, model, batch):
        return self._losses(model, batch).mean()

    def metrics(self, model, batches):
        losses = torch.cat([self._losses(model, batch).mean(1).cpu() for batch in batches])
        return {"perplexity": Scores(losses, torch.exp), "worst sentence": float(losses.max())}

    def match(self, outputs, wanted):
        return (
            F.kl_div(outputs.log_softmax(-1), wanted.log_softmax(-1), reduction="batchmean", log_target=True) / LENGTH
        )


def drawn(count, seed):
    """Words that count up or down, with some that do not."""
    generator = torch.Generator().manual_seed(seed)
    first, step = (
        torch.randint(WORDS, (count, 1), generator=generator),
        torch.randint(1, 4, (count, 1), generator=generator),
    )
    words = (first + step * torch.arange(LENGTH + 1)) % WORDS
    noise = torch.rand(words.shape, generator=generator) < 0.05
    return torch.where(noise, torch.randint(WORDS, words.shape, generator=generator), words)


def collated(samples):
    return {"words": torch.stack([words for (words,) in samples])}


def loaders():
    parts = [TensorDataset(drawn(count, seed)) for seed, count in enumerate((64, 16, 32))]
    train, *others = parts
    shuffled = DataLoader(train, 16, shuffle=True, collate_fn=collated)
    return shuffled, *(DataLoader(part, 16, collate_fn=collated) for part in others)


def perplexity_of_chance():
    return float(WORDS) if math.isfinite(WORDS) else 0.0
