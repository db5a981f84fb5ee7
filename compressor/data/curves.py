"""Regular against shaky text, drawn here: no published data set, and no handwriting.

A stand-in for the task of Xue and Xin, "Learning sparse neural networks via l0 and Tl1 by a relaxed variable splitting
method with application to multi-scale curve classification", arXiv 1902.07419, 2019, whose images are not public;
figures on it are ours alone. Another version of FreeType may draw a few pixels differently.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from compressor.data.normalization import Normalization
from compressor.data.reader import RESIZE, Parts, Shape, resize_grey
from compressor.data.samples import Augmentation, Samples
from compressor.errors import DataError

Array = NDArray[Any]
Range = tuple[float, float]

SEED = 20190207
TRAIN, TEST = 6000, 2000
HEIGHT, WIDTH = 48, 96
OVERSAMPLING = 2  # text is drawn so many times larger than the images
FONTS = (
    *(f"DejaVu{face}" for face in ("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique")),
    *(f"DejaVu{face}" for face in ("SansMono", "SansMono-Bold", "SansMono-Oblique", "SansMono-BoldOblique")),
    *(f"DejaVu{face}" for face in ("Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic")),
    *(f"STIXGeneral{face}" for face in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)
WORDS = """
able acid also amber apple arch area atlas autumn away baker basin beach birch black bloom board brave bread bridge
brown cabin candle cedar chair chalk city clock cloud coast copper cotton cream crown daisy dance delta depth door
dream dusk early earth east echo eight elbow ember empty engine equal event fable farm fern field fifth flame floor
fossil fresh frost garden ghost giant glass globe grape green group guide hammer harbor hazel heart helm honey horse
house index iron island ivory jacket jewel jolly jump kettle key king kite knot label ladder lake lemon level light
linen maple marsh meadow metal mint moon mouse music narrow needle night noble north novel nurse oasis ocean olive
onion orbit otter owl paint palm paper pearl piano pilot plain quartz queen quick quilt radio rain raven reef ridge
river robin rope round sail salt sand seven shade shore silver sixth snow solid south spice stone storm sugar table
tiger timber tower train tulip under union urban valley velvet violin voice wagon water whale wheat wind winter wolf
wood yacht yard yellow young zebra zero zinc
"""
TEXTS = [*WORDS.split(), *(str(number) for number in range(17, 100_000, 499))]

LETTERS = (15.0, 28.0)  # sizes of the fonts in pixels
MARGIN = 6  # between the text, as it is drawn, and the border
ROTATION, SHEAR = math.radians(7), 0.15
# Movements along x and along y, root mean square, and their wavelengths, in pixels.
BEND, BEND_WAVELENGTHS = (0.0, 1.0), (60.0, 150.0)  # both classes are bent
TREMOR, TREMOR_WAVELENGTHS = (1.5, 2.5), (8.0, 18.0)  # only the shaky class trembles
WAVES = 4
CHUNK = 500  # images moved at once: the float copies stay small


class Curves:
    """Regular against shaky words and numbers in 20 fonts, 48x96 grey pixels, drawn when read."""

    form = "curves"

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Draw the images, the same ones every time; no text of the test part occurs in training."""
        draw = Generator(PCG64(SEED))
        test_texts, train_texts = shared_out(draw)
        test, train = (_draw(*part, draw, shape) for part in ((test_texts, TEST), (train_texts, TRAIN)))
        return Parts(
            train=train,
            test=test,
            classes=("regular", "shaky"),
            normalization=Normalization((0.07,), (0.24,)),
            augmentation=Augmentation(shift=train.images.shape[2] // 16),
            resize=RESIZE,
        )


def shared_out(draw: Generator) -> tuple[list[str], list[str]]:
    """The texts of the test part, a fifth, and those of the training part."""
    texts = [TEXTS[i] for i in draw.random(len(TEXTS)).argsort()]
    fifth = len(texts) // 5
    return texts[:fifth], texts[fifth:]


def _draw(texts: list[str], count: int, draw: Generator, shape: Shape | None) -> Samples:
    fonts = _Fonts()
    images = torch.cat([_chunk(texts, fonts, draw) for _ in range(count // CHUNK)])
    return Samples(resize_grey(images, shape, Curves.form), torch.arange(count) % 2)


def _chunk(texts: list[str], fonts: _Fonts, draw: Generator) -> Tensor:
    """`CHUNK` images, regular and shaky in turn."""
    pages = _pages(texts, fonts, draw)
    grid = _moved((torch.arange(CHUNK) % 2).float()[:, None, None], draw)
    # The same interpolation for both classes: its blur says nothing about the class.
    images = F.grid_sample(pages.float(), grid, mode="bilinear", align_corners=False)
    return images.round_().clamp_(0, 255).to(torch.uint8)


def _pages(texts: list[str], fonts: _Fonts, draw: Generator) -> Tensor:
    """White on black, uint8 (CHUNK, 1, height, width), larger than the images by `OVERSAMPLING`."""
    pages = np.empty((CHUNK, 1, HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING), dtype=np.uint8)
    for page, (text, font, height, *place) in zip(pages, draw.random((CHUNK, 5)), strict=True):
        pixels = LETTERS[0] + height * (LETTERS[1] - LETTERS[0])
        page[0] = fonts.page(texts[int(text * len(texts))], FONTS[int(font * len(FONTS))], pixels, np.array(place))
    return torch.from_numpy(pages)


class _Fonts:
    """The fonts that matplotlib brings, each size opened once."""

    def __init__(self) -> None:
        import matplotlib

        self._folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
        self._sized = cache(self._open)

    def page(self, text: str, name: str, height: float, place: Array) -> Array:
        """Draw ``text`` on a page of its own; ``height`` in pixels is lowered until it fits, ``place`` in [0, 1)."""
        page = Image.new("L", (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING))
        room = np.array(page.size) - 2 * MARGIN * OVERSAMPLING
        font = self._sized(name, round(height * OVERSAMPLING))
        box = np.array(font.getbbox(text))
        if (box[2:] - box[:2] > room).any():
            font = self._sized(name, int(font.size * (room / (box[2:] - box[:2])).min()))
            box = np.array(font.getbbox(text))
        corner = MARGIN * OVERSAMPLING - box[:2] + place * (room - (box[2:] - box[:2])).clip(0)
        ImageDraw.Draw(page).text(tuple(corner.round()), text, fill=255, font=font)
        return np.asarray(page)

    def _open(self, name: str, points: int) -> ImageFont.FreeTypeFont:
        path = self._folder / f"{name}.ttf"
        try:
            return ImageFont.truetype(path, points, layout_engine=ImageFont.Layout.BASIC)
        except OSError as error:
            raise DataError(f"curves is drawn with the fonts of matplotlib, but {path} cannot be read") from error


def _moved(shaky: Tensor, draw: Generator) -> Tensor:
    """Where each pixel looks on its page, x and y from -1 to 1: (CHUNK, height, width, 2).

    Both classes are turned, sheared, shifted and bent; where ``shaky`` is 1, not 0, tremor is added.
    """
    angle, shear, *shift = _between((-1, 1), draw.random((4, CHUNK, 1, 1))).unbind()
    x = (torch.arange(WIDTH) - (WIDTH - 1) / 2)[None, None, :]
    y = (torch.arange(HEIGHT) - (HEIGHT - 1) / 2)[None, :, None]
    cosine, sine = (ROTATION * angle).cos(), (ROTATION * angle).sin()
    moved_x = (cosine * x + (SHEAR * shear - sine) * y + shift[0]) / (WIDTH / 2)
    moved_y = (sine * x + cosine * y + shift[1]) / (HEIGHT / 2)
    for moved, length in (moved_x, WIDTH), (moved_y, HEIGHT):
        moved += _waves(_between(BEND, draw.random((CHUNK, 1, 1))) / (length / 2), BEND_WAVELENGTHS, draw)
        tremor = shaky * _between(TREMOR, draw.random((CHUNK, 1, 1)))
        moved += _waves(tremor / (length / 2), TREMOR_WAVELENGTHS, draw)
    return torch.stack([moved_x, moved_y], dim=-1)


def _waves(amplitude: Tensor, wavelengths: Range, draw: Generator) -> Tensor:
    """Sums of `WAVES` plane waves in random directions, (CHUNK, height, width)."""
    frequency = 2 * math.pi / _between(wavelengths, draw.random((CHUNK, WAVES)))
    direction, phase = _between((0, 2 * math.pi), draw.random((2, CHUNK, WAVES))).unbind()
    along_x = (frequency * direction.cos())[:, :, None] * torch.arange(WIDTH) + phase[:, :, None]
    along_y = (frequency * direction.sin())[:, :, None] * torch.arange(HEIGHT)
    # sin(a + b) = sin a cos b + cos a sin b: one small product of matrices instead of a sine for each pixel.
    rows = torch.cat([along_y.cos(), along_y.sin()], dim=1) * (amplitude * (2 / WAVES) ** 0.5)
    columns = torch.cat([along_x.sin(), along_x.cos()], dim=1)
    waves: Tensor = rows.mT @ columns
    return waves


def _between(ends: Range, share: Array) -> Tensor:
    return torch.from_numpy(ends[0] + (ends[1] - ends[0]) * share).float()
