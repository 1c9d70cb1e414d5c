"""Baselines from timm: ResNet, VGG, DenseNet, ConvNeXt, ViT and any other."""
