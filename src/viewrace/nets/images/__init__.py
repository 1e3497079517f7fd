"""Networks that look at images, as plain `torch.nn.Module` classes and factories of them."""

from viewrace.nets.images.conv import ConvNet, conv_net
from viewrace.nets.images.registry import IMAGE_NETS, image_net
from viewrace.nets.images.resnet import ResNet, WideResNet, resnet, wide_resnet_16_2
from viewrace.nets.images.transformer import VisionTransformer, vision_transformer

__all__ = [
    "IMAGE_NETS",
    "ConvNet",
    "ResNet",
    "VisionTransformer",
    "WideResNet",
    "conv_net",
    "image_net",
    "resnet",
    "vision_transformer",
    "wide_resnet_16_2",
]
