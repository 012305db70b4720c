"""How a report is worded, on the terminal and on the page alike."""

from nda_augment.auditing.report import Estimate, Purpose, Report, Verdict

MARKS: dict[Verdict, str] = {"pass": "✓", "warn": "!", "fail": "✗"}

# What a table shows of a measure: heading, attribute of Measures, and what it means.
Column = tuple[str, str, str]
_EDGES = (
    "told by edges",
    "told_by_edges",
    "share told from its source by a linear classifier of where edges are; high: seams at fixed places",
)
_REALISM = (
    "local realism",
    "realism",
    "0: small patches are as far from the real ones as those of noise; 1: as near as real",
)
_WHOLE = (
    ("structure broken", "broken", "0: a classifier sees the same as before; 1: chance"),
    _REALISM,
    ("distance", "shift", "KID from the sources; 0 for what is distributed like them"),
    ("overlap", "overlap", "density and coverage of held-out real images, the smaller; 1: like real images"),
    (
        "told by features",
        "told_by_features",
        "share told from its source by a linear classifier of features; 0.5: none",
    ),
    ("told by pixels", "told_by_pixels", "the same, of pixels"),
    _EDGES,
)
_PART = (
    ("extent", "extent", "share of the pixels that change"),
    (
        "told by patches",
        "told_by_patches",
        "how often its most unusual patch is more unusual than that of a real image; 0.5: no difference, 1: always",
    ),
    _REALISM,
    ("unchanged", "unchanged", "share of images that come back as they were"),
    ("told by pixels", "told_by_pixels", "share told from its source by a linear classifier of pixels; 0.5: none"),
    _EDGES,
)
COLUMNS: dict[Purpose, tuple[Column, ...]] = {
    "gan": _WHOLE, "contrastive": _WHOLE, "semantic": _WHOLE, "defect": _PART
}  # fmt: skip


def with_error(estimate: Estimate) -> str:
    """Write a value and half of its interval: ``0.71 ±0.03``."""
    return f"{estimate.value:.2f} ±{(estimate.high - estimate.low) / 2:.2f}"


def looked_at(report: Report) -> str:
    """Say what was looked at, in sentences."""
    settings = report.settings
    channels, height, width = settings.shape
    sample = f"all {settings.given}" if settings.used == settings.given else (
        f"a random sample of {settings.used} of {settings.given}"
    )  # fmt: skip
    judge = f"Structure is judged by {settings.structure}"
    if settings.classifier is not None:
        judge += f", right on {settings.classifier} of real images"
    if not settings.structure_is_known:
        judge += (
            "; that is too little to say what negatives break, so this is left open: give more images, another "
            "encoder, or no labels"
            if settings.classifier is not None
            else "; they say nothing of it here (all images lie in one cluster, or a horizontal flip stays on the data "
            "and yet leaves most clusters), so this is left open: pass labels"
        )
    skipped = "".join(f" Skipped: {name} ({reason})." for name, reason in report.skipped.items())
    return (
        f"Looked at {sample} images of {width}x{height} pixels, {channels} channel{'s' * (channels > 1)}: n = "
        f"{settings.n} on either side of every comparison, 95 % intervals from {settings.groups} groups. "
        f"{settings.features} features of an encoder ({settings.encoder}), k = {settings.nearest_k}, patches of "
        f"{settings.patch} pixels, seed {settings.seed}, purpose {settings.purpose}. {judge}.{skipped}"
    )
