"""Networks of GANs: DCGAN, SNGAN and BigGAN at 32 to 128 pixels, and at 8 and 16 for small trials."""
