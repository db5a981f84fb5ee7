"""The splitting in other people's training loops: a file for each library, which is imported only there.

Each callback attaches the splitting when the trainer's optimisers exist, with the number of steps that the trainer will
take, projects at the end of the training, re-estimates BatchNorm, and leaves a network that `compressor.shrink` takes.
"""
