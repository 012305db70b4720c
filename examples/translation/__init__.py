"""Edges to photographs (pix2pix), with negatives of the output: ``python -m examples.translation.train``.

``config`` says what can be set, ``data`` makes pairs, ``models`` has the two players, ``train`` the loop, ``evaluate``
the measurements. Data, randomness and checkpoints are those of ``examples.common``.
"""
