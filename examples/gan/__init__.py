"""A small GAN trained with negatives: ``python -m examples.gan.train``, or ``make demo`` for the guided tour.

``config`` says what can be set, ``data`` loads images, ``models`` has the two players, ``train`` the loop,
``randomness`` every random draw, ``checkpoint`` what survives a kill, ``evaluate`` the measurements, ``pictures`` grids
and curves.
"""
