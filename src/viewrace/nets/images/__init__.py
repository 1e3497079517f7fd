"""Networks that look at images, as plain `torch.nn.Module` classes and factories of them."""

from viewrace.nets.images.conv import ConvNet, conv_net

__all__ = ["ConvNet", "conv_net"]
