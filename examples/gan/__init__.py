"""GANs trained with negatives: ``python -m examples.gan.train``.

``config`` says what can be set. ``models`` has the two players, ``conditioning`` and ``objective`` what they are told
and want, ``negatives`` and ``positives`` what the discriminator is shown. ``train`` has the steps of both; the loop
around them is :mod:`examples.common.training`. ``generation``, ``evaluate`` and ``measure`` are what comes out;
``study`` asks with many short runs when negatives help.
"""
