"""What the trainings share.

``settings`` and ``sections``, ``data`` and ``randomness``, ``negatives`` of a batch; ``training``, a loop that goes on
as if it had never stopped, and ``runs``; ``judging`` of generated images, ``tables`` and ``pictures``.
"""
