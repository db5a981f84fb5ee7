"""The stages, one a file: explicit inputs, a frozen record out, nothing printed.

The command of the same name, ``compress run`` and the Python API all call the one function.
"""
