"""Random networks: sequences of the zoo's blocks, each from and to an image of some width."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F
from zoo_grouped import shuffle
from zoo_norms import ResponseNorm
from zoo_parts import Lambda, Net, conv, tail
from zoo_token_blocks import TOKEN_BLOCKS

from compressor.architectures.cifar_resnet import BasicBlock


def plain(width, out):
    return nn.Sequential(conv(width, out), nn.BatchNorm2d(out), nn.ReLU())


def gated(width, out):
    return nn.Sequential(conv(width, 2 * out), nn.GLU(1))


def smooth(width, out):
    return nn.Sequential(nn.Conv2d(width, out, 1), nn.Sigmoid(), nn.Conv2d(out, out, 1, bias=False), nn.SiLU())


def depthwise(width, out):
    return nn.Sequential(conv(width, width, groups=width), nn.ReLU6(), nn.Conv2d(width, out, 1), nn.BatchNorm2d(out))


def grouped(width, out):
    return nn.Sequential(conv(width, 2 * out, groups=2), nn.ReLU(), nn.Conv2d(2 * out, out, 1))


def group_norm(width, out):
    return nn.Sequential(conv(width, out), nn.GroupNorm(out // 2, out), nn.PReLU(out))


def residual(width, out):
    def forward(net, x):
        x = net.fit(x)
        return F.relu(x + net.conv2(F.relu(net.bn(net.conv1(x)))))

    return Net(forward, fit=conv(width, out), conv1=conv(out, 6), bn=nn.BatchNorm2d(6), conv2=conv(6, out))


def identity(width, out):
    """The width stays, so that the stream is that of the block before."""

    def forward(net, x):
        return net.out(F.relu(x + net.conv2(F.relu(net.conv1(x)))))

    return Net(forward, conv1=conv(width, 6), conv2=conv(6, width), out=nn.Conv2d(width, out, 1))


def padded(width, out):
    return nn.Sequential(BasicBlock(width, width + 4, 2), nn.Conv2d(width + 4, out, 1), nn.Upsample(scale_factor=2))


def written_padding(width, out):
    def forward(net, x):
        return net.out(F.relu(net.conv(x) + net.shortcut(x)))

    shortcut = Lambda(lambda x: F.pad(x, (0, 0, 0, 0, 1, 3)))
    return Net(forward, conv=conv(width, width + 4), shortcut=shortcut, out=nn.Conv2d(width + 4, out, 1))


def dense(width, out):
    def forward(net, x):
        x = torch.cat([x, net.conv(F.relu(net.bn(x)))], 1)
        return F.relu(net.out(x))

    return Net(forward, bn=nn.BatchNorm2d(width), conv=conv(width, 4), out=nn.Conv2d(width + 4, out, 1))


def shuffled(width, out):
    def forward(net, x):
        return shuffle(F.relu(net.conv(x)), 2)

    return Net(forward, conv=conv(width, out))


def excited(width, out):
    def forward(net, x):
        x = F.relu(net.conv(x))
        return x * torch.sigmoid(net.up(F.relu(net.down(x.mean((2, 3), keepdim=True)))))

    return Net(forward, conv=conv(width, out), down=nn.Conv2d(out, 4, 1), up=nn.Conv2d(4, out, 1))


def channels_last_norm(width, out):
    def forward(net, x):
        return net.conv(net.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))

    return Net(forward, norm=nn.LayerNorm(width), conv=conv(width, out))


def up_and_down(width, out):
    return nn.Sequential(nn.ConvTranspose2d(width, 6, 2, 2), nn.ReLU(), nn.MaxPool2d(2), conv(6, out))


def pixels(width, out):
    return nn.Sequential(nn.Conv2d(width, 4 * out, 1), nn.PixelShuffle(2), nn.ReLU(), nn.AvgPool2d(2))


def written_slice(width, out):
    return Net(lambda net, x: F.relu(net.conv(x[:, : width // 2])), conv=conv(width // 2, out))


def repeated(width, out):
    def forward(net, x):
        return net.out(F.relu(net.body(F.relu(net.body(x)))))

    return Net(forward, body=conv(width, width), out=nn.Conv2d(width, out, 1))


def recurrent(width, out):
    """Along the rows, in both directions."""

    def forward(net, x):
        rows = net.rnn(x.mean(3).transpose(1, 2))[0].transpose(1, 2)
        return rows[..., None].expand(-1, -1, -1, x.shape[3])

    return Net(forward, rnn=nn.GRU(width, out // 2, batch_first=True, bidirectional=True))


def attentive(width, out):
    def forward(net, x):
        tokens = x.flatten(2).transpose(1, 2)
        weights = (net.query(tokens) @ net.key(tokens).transpose(1, 2)).softmax(-1)
        return (weights @ net.value(tokens)).transpose(1, 2).unflatten(2, x.shape[2:])

    return Net(forward, query=nn.Linear(width, 6), key=nn.Linear(width, 6), value=nn.Linear(width, out))


def cross_stage(width, out):
    def forward(net, x):
        left, right = F.relu(net.split(x)).chunk(2, 1)
        return net.join(torch.cat([left, F.relu(net.inner(right)), right], 1))

    return Net(forward, split=conv(width, 8), inner=conv(4, 4), join=nn.Conv2d(12, out, 1))


def halves(width, out):
    """Of the stream itself, whatever made it."""

    def forward(net, x):
        half = x.shape[1] // 2
        return net.join(torch.cat([F.relu(net.right(x[:, half:])), x[:, :half]], 1))

    return Net(forward, right=conv(width - width // 2, 6), join=nn.Conv2d(6 + width // 2, out, 1))


BLOCKS = (
    plain, gated, smooth, depthwise, grouped, group_norm, residual, identity, padded, written_padding, dense, shuffled,
    excited, channels_last_norm, up_and_down, pixels, written_slice, repeated, recurrent,
    attentive, cross_stage, halves, *TOKEN_BLOCKS,
)  # fmt: skip


def random_network(seed):
    """One to four random blocks between a stem and a classifier; the names of the blocks."""
    generator = torch.Generator().manual_seed(seed)

    def draw(limit):
        return int(torch.randint(limit, (1,), generator=generator))

    widths = [4 * (1 + draw(3)) for _ in range(2 + draw(4))]
    blocks = [BLOCKS[draw(len(BLOCKS))] for _ in widths[1:]]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = [block(*pair) for block, pair in zip(blocks, itertools.pairwise(widths), strict=True)]
        model = nn.Sequential(conv(3, widths[0]), nn.ReLU(), *body, tail(widths[-1])).eval()
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2)
                    module.bias.normal_()
                elif isinstance(module, (nn.LayerNorm, nn.RMSNorm, ResponseNorm)):
                    for parameter in module.parameters():
                        parameter.normal_()
    return model, [block.__name__ for block in blocks]
