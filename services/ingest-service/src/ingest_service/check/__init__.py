"""Looking whether the lake's files are what they should be, and changing nothing (LAKE section 8).

`files` tells data from what else lies in a partition, `partitions` and `schemas` look into files, `duplicates`
counts msg_ids over a whole dataset.
"""
