"""The page's answer to "why is my number different?": what moves a number although nobody made a mistake."""

from __future__ import annotations

from gfnet_bench.reports.page.html import esc, tag

REASONS = (
    (
        "Transform",
        "The paper resizes the shorter side to 256 (bicubic) and crops 224. Many weights come with their own: DeiT and "
        "Swin crop 0.9 of the resized side in timm. Both are legitimate and differ by a few hundredths to tenths of a "
        "point (DeiT-S 79.8 against 79.86). Rows say which was used; --transform model takes the other.",
    ),
    (
        "Weights",
        "One name, many checkpoints: ResNeXt-50 at 79.8 is timm's ra_in1k, torchvision's first weights have 77.6. "
        "Compare the sha256 in the record of your number. The RegNetY rows at 80.0 and 81.7 were never published.",
    ),
    (
        "Published or generated corruptions",
        "ImageNet-C as published was saved as JPEG of quality 85, which takes away about 40 % of the energy of pixel "
        "noise. Images corrupted in memory scored 5 points higher over 200 models in one re-implementation, fog and "
        "contrast 11. The two never share a column here, nor do two recipes.",
    ),
    (
        "Resizing what is already small",
        "Files of ImageNet-C have 224 pixels already. Resizing them to 256 and cropping again has changed the order of "
        "a leaderboard; here they are cropped only.",
    ),
    (
        "Which classes count",
        "ImageNet-A and -R have 200 of the 1000 classes. Their logits alone compete here; over all 1000, or with "
        "folder numbers taken for classes, accuracy falls to nearly nothing. The fair comparison is with the same "
        "classes of the validation set: the control columns.",
    ),
    (
        "Images without an answer",
        "46,837 of 50,000 validation images have ReaL labels. The others are left out, not counted as wrong.",
    ),
    (
        "A sample instead of all images",
        "With --limit the number is an estimate: its 95 % interval is the ± of the table. Differences between two "
        "models on the same images are known far better than either number; the paired tables have them.",
    ),
    (
        "Attack settings",
        "Epsilon is in pixels from 0 to 1 before normalisation. The paper's PGD: 1/255, 5 steps of half of epsilon, "
        "random start, last iterate, all images, right or wrong. A step given in absolute terms is another attack at "
        "every other epsilon.",
    ),
    (
        "Precision",
        "Gradients and scores are float32 here. The scripts of that time scored under mixed precision; tf32, bfloat16 "
        "and float16 are recorded as other cells. The same weights differ by 0.1 to 0.3 points from one environment to "
        "the next.",
    ),
    (
        "What one FLOP is",
        "Papers print multiply-adds as FLOPs; here the unit is MACs. An FFT is charged N C ceil(log2 N): once in the "
        "paper's Table 1, twice (forward and inverse) in the authors' counter. Most counters give it nothing, and some "
        "overlook fused attention: DeiT-S at 4,096 tokens is 242.9 GMACs, they say 88.",
    ),
    (
        "Latency and memory",
        "Medians of repeats after warm-up, on the device and with the batch that the table names. Memory is the peak "
        "beside the weights. Modern fused attention is a curve of its own: the paper's attention matrices were stored.",
    ),
    (
        "The published figure itself",
        "† was quoted from memory and not seen at a public source; ‡ is uncertain even so. Nothing follows from a "
        "difference to such a figure.",
    ),
)


def html() -> str:
    """The section without its heading."""
    intro = (
        "A difference is explained when the settings of the record and those of the published figure say why; tables "
        "of published figures name the reason, and each record lists what it does otherwise than the paper."
    )
    items = "".join(f"<dt>{esc(head)}</dt><dd>{esc(text)}</dd>" for head, text in REASONS)
    return tag("p", esc(intro)) + f'<dl class="why">{items}</dl>'
