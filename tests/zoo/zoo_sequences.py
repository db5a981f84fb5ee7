"""Recurrent layers and embeddings."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, signals, words


def lstm():
    def forward(net, x):
        found, _ = net.lstm(F.relu(net.conv(x)).flatten(2).transpose(1, 2))
        return net.head(F.relu(net.fc(found[:, -1])))

    return Net(
        forward, conv=nn.Conv1d(3, 8, 3), lstm=nn.LSTM(8, 6, batch_first=True), fc=nn.Linear(6, 8), head=nn.Linear(8, 4)
    )


def stacked_lstm():
    """Two layers in both directions: unit j of each is one channel, which is read in two places behind them."""

    def forward(net, x):
        found, _ = net.lstm(net.fc(x.transpose(1, 2)))
        return net.head(found.mean(1))

    return Net(
        forward, fc=nn.Linear(3, 8), lstm=nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True), head=nn.Linear(12, 4)
    )


def recurrent():
    """A zero channel sends 0.5 to a plain recurrent layer, into whose bias it goes."""

    def forward(net, x):
        _, last = net.rnn(torch.sigmoid(net.conv(x)).permute(2, 0, 1))
        return net.head(last[-1])

    return Net(forward, conv=nn.Conv1d(3, 8, 3), rnn=nn.RNN(8, 6), head=nn.Linear(6, 4))


def without_bias():
    def forward(net, x):
        found, _ = net.gru(torch.sigmoid(net.fc(x.transpose(1, 2))))
        return net.head(found[:, -1])

    return Net(
        forward, fc=nn.Linear(3, 8), gru=nn.GRU(8, 6, batch_first=True, bias=False), head=nn.Linear(6, 4)
    )  # fmt: skip


def written_state():
    def forward(net, x):
        state = x.new_zeros(1, x.shape[0], 6)
        found, _ = net.gru(net.fc(x.transpose(1, 2)), state)
        return net.head(found[:, -1])

    return Net(forward, fc=nn.Linear(3, 8), gru=nn.GRU(8, 6, batch_first=True), head=nn.Linear(6, 4))


def gru():
    def forward(net, x):
        found, _ = net.gru(net.embed(x))
        return net.head(F.relu(net.fc(found.mean(1))))

    return Net(
        forward, embed=nn.Embedding(11, 8), gru=nn.GRU(8, 6, batch_first=True), fc=nn.Linear(6, 8), head=nn.Linear(8, 4)
    )


def embedding():
    def forward(net, x):
        x = net.words(x) + net.position
        return net.head((x + net.fc2(F.relu(net.fc1(x)))).mean(1))

    return Net(
        forward, words=nn.Embedding(11, 8), position=nn.Parameter(torch.full((5, 8), 0.1)), fc1=nn.Linear(8, 12),
        fc2=nn.Linear(12, 8), head=nn.Linear(8, 4),
    )  # fmt: skip


PATTERNS = (
    Pattern(lstm, {"conv": 8, "lstm": 6, "fc": 8}, inputs=signals),
    Pattern(stacked_lstm, {"fc": 8, "lstm": 6}, inputs=signals),
    Pattern(recurrent, {"conv": 8, "rnn": 6}, inputs=signals),
    Pattern(without_bias, {"gru": 6}, {"fc": r"sends 0.5 to gru, where it has no bias"}, inputs=signals),
    Pattern(written_state, {"fc": 8}, {"gru": "gru starts from a state of fixed width"}, inputs=signals),
    Pattern(gru, {"embed": 8, "gru": 6, "fc": 8}, inputs=words),
    Pattern(embedding, {"words": 8, "fc1": 12}, inputs=words),
)  # fmt: skip
