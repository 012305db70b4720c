"""Do negatives help a GAN? Many short, paired runs of one small GAN: see docs/results/gan.md for the protocol."""
