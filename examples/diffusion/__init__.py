"""Diffusion and flow models that learn what the data is not: ``python -m examples.diffusion.train``.

``config`` says what can be set, ``processes`` how noise is added and taken away, ``denoiser`` has the network.
``train`` is the step, ``sampling`` makes images with a trained network, and ``sample``, ``evaluate`` and ``measure``
are what comes out.
"""
