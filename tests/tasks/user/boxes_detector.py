"""Bright boxes on noise: a detector with one anchor a cell, its loss and an average precision like that of COCO."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from compressor.tasks import Task

SIZE, CELLS = 24, 6
STRIDE = SIZE // CELLS


class Detector(nn.Module):
    """Scores (samples, cells) and boxes (samples, cells, 4) as corners in pixels."""

    input_shape = (1, SIZE, SIZE)

    def __init__(self, width=16):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 1, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),
        )  # fmt: skip
        self.scores = nn.Conv2d(2 * width, 1, 3, 1, 1)
        self.corners = nn.Conv2d(2 * width, 4, 3, 1, 1)
        middle = STRIDE * (torch.arange(CELLS) + 0.5)
        rows, columns = torch.meshgrid(middle, middle, indexing="ij")
        self.register_buffer("centres", torch.stack([columns, rows] * 2, -1).view(1, -1, 4))

    def forward(self, images):
        features = self.backbone(images)
        corners = self.corners(features).flatten(2).transpose(1, 2)
        return {"scores": self.scores(features).flatten(1), "boxes": self.centres + STRIDE * corners}


class Boxes(Dataset):
    """Images, and as many boxes as each has."""

    def __init__(self, count, seed):
        self.count, self.seed = count, seed

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        image, boxes = 0.3 * torch.randn(1, SIZE, SIZE, generator=generator), []
        for _ in range(int(torch.randint(1, 3, (), generator=generator))):
            left, top = torch.randint(0, SIZE - 9, (2,), generator=generator).tolist()
            width, height = torch.randint(6, 10, (2,), generator=generator).tolist()
            image[0, top : top + height, left : left + width] += 1
            boxes.append([left, top, left + width, top + height])
        return image, torch.tensor(boxes, dtype=torch.float32)


def collated(samples):
    images, boxes = zip(*samples, strict=True)
    return torch.stack(images), list(boxes)


def loaders():
    train, val, test = (Boxes(count, seed) for seed, count in enumerate((64, 16, 24)))
    return (
        DataLoader(train, 16, shuffle=True, collate_fn=collated),
        DataLoader(val, 16, collate_fn=collated),
        DataLoader(test, 16, collate_fn=collated),
    )


class Detection(Task):
    """Every box belongs to the cell of its centre."""

    primary = "AP50"
    unit = "share"

    def loss(self, model, batch):
        images, boxes = batch
        said, loss = self.outputs(model, batch), torch.zeros(())
        for scores, corners, true in zip(said["scores"], said["boxes"], boxes, strict=True):
            middle = ((true[:, :2] + true[:, 2:]) / 2 // STRIDE).long()
            cells = middle[:, 1] * CELLS + middle[:, 0]
            wanted = torch.zeros_like(scores).index_fill(0, cells, 1.0)
            loss = (
                loss
                + F.binary_cross_entropy_with_logits(scores, wanted)
                + F.smooth_l1_loss(corners[cells], true) / STRIDE
            )
        return loss / len(images)

    def metrics(self, model, batches):
        found, total = [], 0
        for batch in batches:
            said = self.outputs(model, batch)
            for scores, corners, true in zip(said["scores"], said["boxes"], batch[1], strict=True):
                found += hits(scores.cpu(), corners.cpu(), true.cpu())
                total += len(true)
        return {"AP50": average_precision(found, total)}


def overlaps(one, others):
    low, high = torch.maximum(one[:2], others[:, :2]), torch.minimum(one[2:], others[:, 2:])
    shared = (high - low).clamp_min(0).prod(1)
    return shared / ((one[2:] - one[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared)


def hits(scores, corners, true):
    """The score of each of the five surest boxes, and whether it is the first on one of the true ones."""
    free, found = [True] * len(true), []
    for place in scores.topk(5).indices:
        overlap, at = overlaps(corners[place], true).max(0)
        right = bool(overlap > 0.5) and free[at]
        free[at] = free[at] and not right
        found.append((float(scores[place]), right))
    return found


def average_precision(found, total):
    right, area = 0, 0.0
    for place, (_, hit) in enumerate(sorted(found, reverse=True), 1):
        right += hit
        area += hit * right / place
    return area / total
