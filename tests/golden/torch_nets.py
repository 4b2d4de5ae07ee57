"""The networks of hearsay in PyTorch: what the golden files, tests/interop and bench/ measure
hearsay by.

Names, shapes and order of their state_dicts are those of hearsay's model files, so that either
side loads what the other one saved; MobileNetV2's are torchvision's, which Debian's PyTorch lacks.
Runs on PyTorch 1.13 and on current ones, in float32 and float64. Activations work in place: that
gives the same bits and is PyTorch's quickest, which bench/ owes the rival.
"""
import torch
import torch.nn.functional as F
from torch import nn


class Cnn(nn.Module):
    """hearsay's `cnn`: 434,602 trainable parameters with 10 classes and pictures of 64x64."""

    def __init__(self, classes=10, channels=(32, 64, 96), side=64):
        super().__init__()
        a, b, c = channels
        pixels = (((side - 4) // 2 - 4) // 2 - 2) // 2  # 64: 5, 28: 1
        self.conv1, self.bn1 = nn.Conv2d(3, a, 5), nn.BatchNorm2d(a)
        self.conv2, self.bn2 = nn.Conv2d(a, b, 5), nn.BatchNorm2d(b)
        self.conv3, self.bn3 = nn.Conv2d(b, c, 3), nn.BatchNorm2d(c)
        self.fc1 = nn.Linear(c * pixels * pixels, 128)
        self.fc2 = nn.Linear(128, 128)
        self.fc3 = nn.Linear(128, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu_(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu_(self.bn2(self.conv2(x))), 2)
        x = F.max_pool2d(F.relu_(self.bn3(self.conv3(x))), 2)
        x = torch.flatten(x, 1)
        return self.fc3(F.relu_(self.fc2(F.relu_(self.fc1(x)))))


def divisible(channels):
    """torchvision's _make_divisible by 8."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def conv_norm(inputs, outputs, kernel=3, stride=1, groups=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        hidden = inputs * expand
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *([conv_norm(inputs, hidden, kernel=1)] if expand != 1 else []),
            conv_norm(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """torchvision's mobilenet_v2; `strides` "small" shrinks a picture 8 times instead of 32."""

    STAGES = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    STRIDES = {"imagenet": (2, 1, 2, 2, 2, 1, 2, 1), "small": (1, 1, 1, 2, 2, 1, 2, 1)}

    def __init__(self, classes, width=1.0, strides="imagenet", dropout=0.2):
        super().__init__()
        stem, *strides = self.STRIDES[strides]
        channels, last = divisible(32 * width), divisible(1280 * max(1.0, width))
        features = [conv_norm(3, channels, stride=stem)]
        for (expand, outputs, blocks), stride in zip(self.STAGES, strides):
            outputs = divisible(outputs * width)
            for i in range(blocks):
                features.append(
                    InvertedResidual(channels, outputs, stride if i == 0 else 1, expand))
                channels = outputs
        features.append(conv_norm(channels, last, kernel=1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, classes))
        for module in self.modules():  # torchvision's initialisation
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


def make(name, classes=10, width=1.0, strides="imagenet"):
    if name == "cnn":
        return Cnn(classes)
    return MobileNetV2(classes, width, strides)
