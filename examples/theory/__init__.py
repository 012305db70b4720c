"""Why negatives work, and when they do not: five small programs with closed forms; see README.md.

``discrete`` has distributions over a few points and what is known of them exactly, ``tables`` a GAN on such points
that is trained with the package's losses, ``report`` what the programs print and draw with.
"""
