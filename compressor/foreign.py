"""What other people's parsers raise on a file, as one error of ours: caught where the file is read, nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compressor.errors import CheckpointError, CompressorError, first_line


@contextmanager
def parsing(what: object, kind: type[CompressorError] = CheckpointError) -> Iterator[None]:
    """Raise ``kind`` with one line about ``what``, a file, for whatever the parser inside the block raises.

    The block holds the parser's call alone: an error in work of ours is a bug, and keeps its traceback.
    """
    try:
        yield
    except CompressorError:
        raise
    except OSError as error:
        raise kind(f"{what} cannot be read: {error.strerror or first_line(error)}") from error
    except MemoryError as error:
        raise kind(f"{what} cannot be read: it asks for more memory than there is") from error
    except RecursionError as error:
        raise kind(f"{what} cannot be read: it is nested too deeply") from error
    except Exception as error:  # a damaged file can make a parser fail in any way
        raise kind(f"{what} cannot be read: {first_line(error)}") from error
