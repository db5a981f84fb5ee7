"""Networks of libraries that hold more than image classifiers: each by name, with random weights and an example.

Small configurations, so that a hundred of them take hours and not days; what they are made of is the libraries' own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from compressor.equivalence import Inputs
from compressor.inputs import Examples

Built = tuple[nn.Module, Inputs]

TEXT: dict[str, Any] = {
    "vocab_size": 211, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
    "max_position_embeddings": 64,
}  # fmt: skip
IMAGE: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "image_size": 64,
    "patch_size": 16,
}  # fmt: skip
DECODER: dict[str, Any] = {**TEXT, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SEQ2SEQ: dict[str, Any] = {
    "vocab_size": 211, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
GPT: dict[str, Any] = {"vocab_size": 211, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
T5: dict[str, Any] = {"vocab_size": 211, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}


def tokens(length: int = 12) -> torch.Tensor:
    """Token numbers (2, length)."""
    return torch.randint(3, 200, (2, length), generator=torch.Generator().manual_seed(0))


def images(side: int, batch: int = 2) -> torch.Tensor:
    """Random images (batch, 3, side, side)."""
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def language(kind: str, config: Mapping[str, Any], outputs: str = "logits", *, both: bool = False) -> Built:
    """A network of transformers that reads token numbers; with ``both`` its decoder reads them too."""
    import transformers

    family, _, head = kind.partition(":")
    settings = getattr(transformers, f"{family}Config")(use_cache=False, **config)
    network = getattr(transformers, f"{family}{head}")(settings)
    inputs = {"input_ids": tokens()} | ({"decoder_input_ids": tokens(8)} if both else {})
    return network, Examples(inputs, outputs=outputs)


def vision(kind: str, config: Mapping[str, Any], outputs: str = "logits", side: int = 64) -> Built:
    """A network of transformers that reads images."""
    import transformers

    family, _, head = kind.partition(":")
    network = getattr(transformers, f"{family}{head}")(getattr(transformers, f"{family}Config")(**config))
    return network, Examples({"pixel_values": images(side)}, outputs=outputs)


def yolo(name: str, outputs: str | None = "0", side: int = 64) -> Built:
    """A network of Ultralytics; the first of its outputs in eval mode is what a user needs."""
    from ultralytics.nn import tasks

    kind = tasks.ClassificationModel if name.endswith("-cls") else tasks.DetectionModel
    kind = tasks.SegmentationModel if name.endswith("-seg") else kind
    return kind(f"{name}.yaml", nc=3, verbose=False), Examples(images(side), outputs=outputs)


def segmentation(kind: str, encoder: str = "resnet18", side: int = 64) -> Built:
    """A network of segmentation_models_pytorch."""
    import segmentation_models_pytorch

    network = getattr(segmentation_models_pytorch, kind)(encoder_name=encoder, encoder_weights=None, classes=3)
    return network, images(side)


class Heads(nn.Module):
    """What a detector of torchvision says of every place of a batch of images, before boxes are chosen."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: torch.Tensor) -> Any:
        """Scores and box offsets for a batch of images (batch, 3, height, width)."""
        features = list(self.detector.backbone(x).values())
        if hasattr(self.detector, "roi_heads"):  # what looks at each proposal reads the features
            return features, self.detector.rpn.head(features)
        return self.detector.head(features)


def detector(name: str, side: int = 128) -> Built:
    """A detector of torchvision."""
    import torchvision

    build = getattr(torchvision.models.detection, name)
    return Heads(build(weights=None, weights_backbone=None, num_classes=4)), images(side)


def diffusion() -> Built:
    """The U-Net of diffusers, small."""
    import diffusers

    network = diffusers.UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(32, 64),
        norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return network, Examples((images(16), torch.tensor(3)), outputs="sample")


NETWORKS: dict[str, Callable[[], Built]] = {
    "transformers:bert": partial(language, "Bert:ForSequenceClassification", TEXT),
    "transformers:roberta": partial(language, "Roberta:ForSequenceClassification", TEXT),
    "transformers:electra": partial(language, "Electra:ForSequenceClassification", TEXT | {"embedding_size": 64}),
    "transformers:albert": partial(language, "Albert:ForSequenceClassification", TEXT | {"embedding_size": 32}),
    "transformers:distilbert": partial(
        language, "DistilBert:ForSequenceClassification",
        {"vocab_size": 211, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "max_position_embeddings": 64},
    ),
    "transformers:gpt2": partial(language, "GPT2:LMHeadModel", GPT),
    "transformers:opt": partial(
        language, "OPT:ForCausalLM",
        {"vocab_size": 211, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 128,
         "max_position_embeddings": 64, "word_embed_proj_dim": 64},
    ),
    "transformers:llama": partial(language, "Llama:ForCausalLM", DECODER),
    "transformers:mistral": partial(language, "Mistral:ForCausalLM", DECODER),
    "transformers:qwen2": partial(language, "Qwen2:ForCausalLM", DECODER),
    "transformers:gemma": partial(language, "Gemma:ForCausalLM", DECODER | {"head_dim": 16}),
    "transformers:phi": partial(language, "Phi:ForCausalLM", DECODER),
    "transformers:t5": partial(language, "T5:ForConditionalGeneration", T5, both=True),
    "transformers:bart": partial(language, "Bart:ForConditionalGeneration", SEQ2SEQ, both=True),
    "transformers:vit": partial(vision, "ViT:ForImageClassification", IMAGE),
    "transformers:deit": partial(vision, "DeiT:ForImageClassification", IMAGE),
    "transformers:beit": partial(vision, "Beit:ForImageClassification", IMAGE),
    "transformers:dinov2": partial(
        vision, "Dinov2:ForImageClassification",
        {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 64, "patch_size": 16},
    ),
    "transformers:convnext": partial(
        vision, "ConvNext:ForImageClassification", {"hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 2, 1]}
    ),
    "transformers:convnextv2": partial(
        vision, "ConvNextV2:ForImageClassification", {"hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 2, 1]}
    ),
    "transformers:resnet": partial(
        vision, "ResNet:ForImageClassification",
        {"embedding_size": 16, "hidden_sizes": [32, 64, 128, 256], "depths": [1, 1, 2, 1]},
    ),
    "transformers:mobilevit": partial(vision, "MobileViT:ForImageClassification", {"image_size": 64}),
    "transformers:swin": partial(
        vision, "Swin:ForImageClassification",
        {"image_size": 64, "patch_size": 4, "embed_dim": 24, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4},
    ),
    "transformers:segformer": partial(
        vision, "Segformer:ForSemanticSegmentation",
        {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 48, 64], "decoder_hidden_size": 64},
    ),
    **{
        f"ultralytics:{name}": partial(yolo, name)
        for name in ("yolov3-tiny", "yolov5n", "yolov6n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n")
    },
    "ultralytics:yolov8n-seg": partial(yolo, "yolov8n-seg"),
    "ultralytics:yolov8n-cls": partial(yolo, "yolov8n-cls"),
    "ultralytics:yolo11n-cls": partial(yolo, "yolo11n-cls"),
    **{
        f"smp:{kind.lower()}": partial(segmentation, kind)
        for kind in (
            "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "UPerNet",
        )
    },
    "smp:pan": partial(segmentation, "PAN", side=128),
    "smp:unet-mobilenet_v2": partial(segmentation, "Unet", "mobilenet_v2"),
    "smp:unet-efficientnet-b0": partial(segmentation, "Unet", "efficientnet-b0"),
    "smp:segformer": partial(segmentation, "Segformer"),
    **{
        f"torchvision:{name}": partial(detector, name)
        for name in (
            "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn",
            "ssdlite320_mobilenet_v3_large", "fcos_resnet50_fpn",
        )
    },
    "torchvision:ssd300_vgg16": partial(detector, "ssd300_vgg16", 300),
    "diffusers:unet2d": diffusion,
}  # fmt: skip
