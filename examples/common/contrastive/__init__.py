"""MoCo-v2 and SimCLR with negatives, of images or clips: ``learning`` trains what ``methods`` has."""
