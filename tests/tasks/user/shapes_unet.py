"""Discs on noise: a U-Net says of each pixel whether it belongs to one."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZE = 16


class UNet(nn.Module):
    input_shape = (1, SIZE, SIZE)

    def __init__(self, width=8):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.merge = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        fine = self.down(x)
        return self.head(self.merge(torch.cat([fine, self.up(self.deep(fine))], 1)))


def drawn(count, seed):
    generator = torch.Generator().manual_seed(seed)
    centres, radius = (
        4 + 8 * torch.rand(count, 2, 1, 1, generator=generator),
        2 + 3 * torch.rand(count, 1, 1, generator=generator),
    )
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    masks = ((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2 < radius**2).long()
    return (masks + 0.3 * torch.randn(masks.shape, generator=generator))[:, None].float(), masks


def loaders():
    train, val, test = (TensorDataset(*drawn(count, seed)) for seed, count in enumerate((64, 16, 24)))
    return DataLoader(train, 16, shuffle=True), DataLoader(val, 16), DataLoader(test, 16)
