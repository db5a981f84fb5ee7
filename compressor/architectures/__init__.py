"""Built-in networks: those of the papers and of the embedded models.

Adding one is one file with a factory and one line here. A factory takes ``num_classes`` and
``in_channels`` and sets ``input_shape`` on the network it returns: (channels, height, width).
"""

from __future__ import annotations

ARCHITECTURES = {
    "curves-cnn": "compressor.architectures.curves_cnn:curves_cnn",
    "lenet5": "compressor.architectures.lenet:lenet5",
    "resnet20": "compressor.architectures.cifar_resnet:resnet20",
    "resnet32": "compressor.architectures.cifar_resnet:resnet32",
    "resnet44": "compressor.architectures.cifar_resnet:resnet44",
    "resnet56": "compressor.architectures.cifar_resnet:resnet56",
    "resnet110": "compressor.architectures.cifar_resnet:resnet110",
}
