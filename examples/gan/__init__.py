"""GANs trained with negatives: ``python -m examples.gan.train``.

``config`` says what can be set and ``data`` loads images. ``models`` has the two players, ``conditioning`` and
``objective`` what they are told and want, ``negatives`` and ``positives`` what the discriminator is shown. ``train`` is
the loop, ``randomness`` every random draw, ``checkpoint`` what survives a kill. ``generation``, ``evaluate``,
``measure`` and ``pictures`` are what comes out; ``study`` asks with many short runs when negatives help.
"""
