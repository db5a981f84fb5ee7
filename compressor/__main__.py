"""Run the command line with ``python -m compressor``."""

from compressor.cli import main

main()
