"""What the GFNet paper's abstract, page and figures say that can be measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gfnet_bench.errors import MissingError
from gfnet_bench.reports.claims import costs, patterns, scores
from gfnet_bench.reports.claims.base import PAPERS, Claim, Evidence, Finding, Paper
from gfnet_bench.reports.claims.costs import Cost, Law

_EXPONENT = "exponent over the larger half of the sizes, its interval on the side of the {law} law"
_LOG_LINEAR, _QUADRATIC = _EXPONENT.format(law="log-linear"), _EXPONENT.format(law="quadratic")
_BETTER = "difference on the same images, its interval above 0"
_COMPETITIVE = f"difference on the same images, its interval above -{scores.MARGIN:g} point"
_PRINTED = "counted, within one unit of the last printed digit"

_TRANSFORMER, _MLP, _CNN = "vit_mini", "resmlp_mini", "resnet_mini"
_OURS = "gfnet_mini"

_RIVALS = {
    "transformer": ("a transformer (DeiT-S)", ("gfnet_s", "deit_small"), (_OURS, _TRANSFORMER)),
    "cnn": ("a CNN (ResNet-50)", ("gfnet_s", "resnet50"), (_OURS, _CNN)),
    "mlp": ("an MLP (ResMLP-12)", ("gfnet_s", "resmlp_12"), (_OURS, _MLP)),
}

_COLUMNS = {
    "fgsm": "under FGSM",
    "pgd": "under PGD",
    "c": "on corrupted images (mCE)",
    "a": "on hard natural images (ImageNet-A)",
    "v2": "on a new test set (ImageNet-V2)",
    "real": "with better labels (ReaL)",
}


def _cannot(reason: str) -> Callable[[Evidence], Finding]:
    def judge(evidence: Evidence) -> Finding:
        raise MissingError(reason)

    return judge


def _growth() -> list[Claim]:
    """The mixing alone by its count, as the abstract has it, and whole blocks as in Figure 2."""
    mixers: dict[str, tuple[str, str, Law]] = {
        "attention": ("self_attention", "self-attention", "quadratic"),
        "mlp": ("spatial_mlp", "an MLP over tokens", "quadratic"),
        "filter": ("global_filter", "a global filter", "log-linear"),
    }
    found = []
    for name, (mixer, words, law) in mixers.items():
        shown_by = _LOG_LINEAR if law == "log-linear" else _QUADRATIC
        says = f"{words} grows {'log-linearly' if law == 'log-linear' else 'quadratically'} with the tokens"
        judge = costs.grows(mixer, "count", law, alone=True)
        found.append(Claim(f"growth_{name}_mixing", "abstract", f"The cost of {says}", shown_by, judge))
    panels: dict[Cost, tuple[str, str]] = {
        "count": ("a", "Multiply-adds"),
        "latency": ("b", "Latency"),
        "memory": ("c", "Memory"),
    }
    for cost, (panel, title) in panels.items():
        for name, (mixer, words, law) in mixers.items():
            if (name, cost) == ("mlp", "memory"):
                continue  # its activations are linear, and nobody says otherwise
            shown_by = _LOG_LINEAR if law == "log-linear" else _QUADRATIC
            grow = "log-linearly" if law == "log-linear" else "quadratically"
            says = f"{title} of a block with {words} grow{'' if cost == 'count' else 's'} {grow}"
            found.append(
                Claim(f"growth_{name}_{cost}", f"Figure 2 ({panel})", says, shown_by, costs.grows(mixer, cost, law))
            )
    return found


def _efficiency() -> list[Claim]:
    ratio = "ratio of the two costs at the largest size that both have, above 1"
    panels: dict[Cost, tuple[str, str]] = {"latency": ("b", "is faster"), "memory": ("c", "needs less memory")}
    found = [
        Claim(
            f"{cost}_than_{name}",
            f"Figure 2 ({panel})",
            f"A block with a global filter {words} than one with {of}",
            ratio,
            costs.cheaper(rival, cost),
        )
        for cost, (panel, words) in panels.items()
        for name, rival, of in (("attention", "self_attention", "self-attention"), ("mlp", "spatial_mlp", "an MLP"))
    ]
    return [
        *found,
        Claim(
            "attention_runs_out",
            "Figure 2 (c)",
            "Attention does not fit into memory at sizes where a global filter does",
            "a size at which one fits and the other does not",
            costs.out_of_memory("global_filter", "self_attention"),
        ),
        Claim(
            "curves_as_drawn",
            "Figure 2 (a)",
            "At 182 x 182 tokens blocks take 39, 460 and 898 G multiply-adds",
            "counted, within 1 % of what can be read off",
            costs.as_read,
        ),
        Claim(
            "xs_multiply_adds",
            "abstract",
            "Efficient: fewer multiply-adds than a transformer of the same width and depth",
            "share of the transformer's, below 100 %",
            costs.smaller("gfnet_xs", "deit_small", "macs"),
        ),
        Claim(
            "xs_parameters",
            "abstract",
            "Efficient: fewer parameters than a transformer of the same width and depth",
            "share of the transformer's, below 100 %",
            costs.smaller("gfnet_xs", "deit_small", "params"),
        ),
    ]


def _architecture() -> list[Claim]:
    return [
        Claim(
            "three_operations",
            "abstract",
            "Attention is replaced by a 2-D transform, a product and an inverse transform",
            "their share of the block's multiply-adds outside the feed-forward network, 100 %",
            costs.three_operations,
        ),
        Claim(
            "minimal_change",
            "Figure 1",
            "A vision transformer with minimal changes: the block's other layers stay",
            "parameters beside those of the mixing, equal in both blocks",
            costs.only_mixing_differs,
        ),
        Claim(
            "table1_operations",
            "Table 1",
            "The formulas of the complexity of four operations",
            "counted and derived multiply-adds, equal",
            costs.formulas("counted_macs", "formula_macs"),
        ),
        Claim(
            "table1_parameters",
            "Table 1",
            "The formulas of the parameters of four operations",
            "counted and derived parameters, equal",
            costs.formulas("counted_params", "formula_params"),
        ),
    ]


def _printed() -> list[Claim]:
    of = {"params_m": ("parameters", "Parameters"), "flops_g": ("operations", "Multiply-adds")}
    found = []
    for column, (name, words) in of.items():
        for figure, table in ((3, "fig3_transformer_style"), (4, "fig4_hierarchical")):
            for who, title, others in (("gfnet", "GFNets", False), ("others", "other networks", True)):
                says = f"{words} of the {title} of Figure {figure}"
                judge = costs.as_printed(table, column, families=("GFNet",), others=others)
                found.append(Claim(f"{name}_figure{figure}_{who}", f"Figure {figure}", says, _PRINTED, judge))
        judge = costs.as_printed("fig3_transformer_style", column, families=("GFNet",), side=384)
        says = f"{words} of GFNets at 384 px"
        found.append(Claim(f"{name}_384px", "Figure 3", says, _PRINTED, judge))
    return found


def _accuracy() -> list[Claim]:
    small = {name: pair for name, (_, _, pair) in _RIVALS.items()}
    figures: Sequence[tuple[str, str, str, tuple[tuple[str, str], ...]]] = (
        ("Figure 3", "GFNet-Ti", "DeiT-Ti, a transformer", (("gfnet_ti", "deit_tiny"),)),
        ("Figure 3", "GFNet-S", "DeiT-S, a transformer", (("gfnet_s", "deit_small"), small["transformer"])),
        ("Figure 3", "GFNet-XS", "ResMLP-12, an MLP", (("gfnet_xs", "resmlp_12"), small["mlp"])),
        ("Figure 3", "GFNet-B", "ResMLP-36, an MLP", (("gfnet_b", "resmlp_36"),)),
        ("Figure 3", "GFNet-S", "gMLP-S, an MLP", (("gfnet_s", "gmlp_s"),)),
        ("Figure 4", "GFNet-H-Ti", "ResNet-18, a CNN", (("gfnet_h_ti", "resnet18"),)),
        ("Figure 4", "GFNet-H-S", "ResNet-50, a CNN", (("gfnet_h_s", "resnet50"), small["cnn"])),
        ("Figure 4", "GFNet-H-B", "ResNet-101, a CNN", (("gfnet_h_b", "resnet101"),)),
        ("Figure 4", "GFNet-H-S", "PVT-S, a transformer", (("gfnet_h_s", "pvt_small"),)),
        ("Figure 4", "GFNet-H-S", "Swin-Ti, a transformer", (("gfnet_h_s", "swin_tiny"),)),
    )
    return [
        Claim(
            f"accuracy_{pairs[0][0]}_{pairs[0][1]}",
            place,
            f"At a like cost {ours} is more accurate than {rival}",
            _BETTER,
            scores.better("clean", *pairs),
        )
        for place, ours, rival, pairs in figures
    ]


def _robustness() -> list[Claim]:
    return [
        Claim(
            f"{column}_{name}",
            "abstract, Table 3",
            f"{words[0].upper()}{words[1:]} competitive with {rival}",
            _COMPETITIVE,
            scores.competitive(column, *pairs),
        )
        for name, (rival, *pairs) in _RIVALS.items()
        for column, words in _COLUMNS.items()
    ]


def _filters() -> list[Claim]:
    return [
        Claim(
            "long_range",
            "abstract",
            "Learned filters mix tokens that are far apart",
            "energy of a kernel outside 7 x 7 tokens, its interval above half",
            patterns.long_range,
        ),
        Claim(
            "patterns_in_frequency",
            "Figure 5",
            "Learned filters have patterns in the frequency domain",
            "channels with more structure than shuffled ones, more than chance gives",
            patterns.frequencies_have_patterns,
        ),
        Claim(
            "clearer_in_frequency",
            "Figure 5",
            "Patterns are clearer in frequency than in space",
            "structure (Moran's I) in frequency less that in space, above 0",
            patterns.clearer_in_frequency,
        ),
        Claim(
            "sparser_in_frequency",
            "Figure 5",
            "Patterns are clearer in frequency than in space: fewer values hold them",
            "sparsity (Gini) in frequency less that in space, above that of fresh weights",
            patterns.sparser_in_frequency,
        ),
    ]


def _downstream() -> list[Claim]:
    trained = "would have to be trained, which nothing here does; as published: gfnet-bench report {report}"
    return [
        Claim(
            "segmentation",
            "abstract, Table 2",
            "A good trade of accuracy for cost on segmentation",
            "mIoU on ADE20K against multiply-adds",
            _cannot(
                "no weights of segmentation were published; `gfnet-bench segmentation --model gfnet_h_ti` trains them "
                "where ADE20K and a GPU are; as published: gfnet-bench report segmentation"
            ),
        ),
        Claim(
            "transfer",
            "abstract",
            "A good trade of accuracy for cost on transfer to smaller data sets",
            "accuracy on four data sets against multiply-adds",
            _cannot("fine-tuned networks " + trained.format(report="transfer")),
        ),
        Claim(
            "ablation",
            "ablation",
            "Global filters beat local convolutions, MLPs and plain transforms in one skeleton",
            "ImageNet accuracy of each",
            _cannot("these networks " + trained.format(report="ablation")),
        ),
        Claim(
            "finer_images",
            "Figure 3",
            "Accuracy rises at 384 px",
            "ImageNet accuracy at both sizes",
            _cannot("weights fine-tuned at 384 px were never published"),
        ),
    ]


PAPERS.add(
    "gfnet",
    Paper(
        "GFNet, Global Filter Networks for Image Classification",
        "abstract, project page and figures of arXiv 2107.00645 in our own words, captions but that of Figure 1 at "
        "second hand",
        [
            *_growth(),
            *_efficiency(),
            *_architecture(),
            *_printed(),
            *_accuracy(),
            *_robustness(),
            *_filters(),
            *_downstream(),
        ],
    ),
)
