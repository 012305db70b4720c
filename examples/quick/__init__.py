"""Each use of negatives in one file that runs in under a minute: copy one, and put your data and networks in."""
