import pytest
import torch
from torch import nn

from compressor.reconstruction.rows import outputs_of, positions_in, rows_of, weight_of

LAYERS = {
    "plain": (nn.Conv2d(4, 6, 3), (4, 7, 8)),
    "strided and padded": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0)), (4, 7, 8)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=(2, 1), padding=2), (4, 7, 8)),
    "same": (nn.Conv2d(4, 6, (4, 3), padding="same", dilation=2), (4, 9, 9)),
    "reflected": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (4, 7, 8)),
    "circular": (nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="circular"), (4, 7, 8)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (4, 7, 8)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, padding=1), (4, 7, 8)),
    "depthwise, wider": (nn.Conv2d(4, 8, 3, groups=4), (4, 7, 8)),
    "1d": (nn.Conv1d(4, 6, 3, stride=2), (4, 9)),
    "3d": (nn.Conv3d(4, 6, 2, padding=1), (4, 3, 4, 5)),
    "linear": (nn.Linear(4, 6), (4,)),
    "linear on tokens": (nn.Linear(4, 6), (5, 3, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_rows_times_weights_are_what_the_layer_makes(name):
    layer, shape = LAYERS[name]
    given = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    made = layer(given).detach()
    count = positions_in(layer, made)
    positions = torch.randperm(count, generator=torch.Generator().manual_seed(1))[: max(1, count // 2)]
    rows = rows_of(layer, given, positions)
    expected = rows.double() @ weight_of(layer).mT + layer.bias.double().view(len(rows), 1, -1)
    torch.testing.assert_close(outputs_of(layer, made, positions).double(), expected, rtol=1e-4, atol=1e-5)


def test_of_a_wider_layer_the_kept_outputs_count():
    layer = nn.Conv2d(4, 2, 3)
    made = torch.randn(2, 5, 3, 3)
    rows = outputs_of(layer, made, torch.tensor([4]), torch.tensor([1, 3]))
    torch.testing.assert_close(rows[0], made[:, [1, 3], 1, 1])
