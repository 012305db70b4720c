"""BigGAN's widths (Brock et al. 2019), ``MODEL.backbone=big_resnet``; its blocks are SNGAN's.

What else makes a BigGAN are settings: ``apply_attn``, ``hierarchical_z``, ``g_shared_dim``, ``apply_g_sn`` and
``g_init: ortho``. Widths at 32 to 256 pixels are those of its authors' code; 8 and 16 are ours.
"""

# By size: multiples of the width from the coarsest level on.
GENERATOR = {
    8: (4, 4), 16: (4, 4, 4), 32: (4, 4, 4, 4), 64: (16, 16, 8, 4, 2), 128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}  # fmt: skip
# By size: multiples of the width of each block, and how many of them halve the side, from the first on.
DISCRIMINATOR = {
    8: ((4, 4), 1),
    16: ((4, 4, 4), 2),
    32: ((4, 4, 4, 4), 2),
    64: ((1, 2, 4, 8, 16), 4),
    128: ((1, 2, 4, 8, 16, 16), 5),
    256: ((1, 2, 4, 8, 8, 16, 16), 6),
}
