"""The campaign: mutated files of every kind, kills, full disks, races and hostile pages against the real commands.

kinds.py         which files are mutated, and by which commands they are read
trees.py, raw.py, values.py, places.py
                 edits of nested data, of bytes and of folders; what hostile values are put there
formats/         how a file becomes a tree of plain data, and a tree a file again
cases.py         one case: a file, its edits and a command, as JSON
strategies.py    Hypothesis draws cases from a seed
server.py        the fork server: a child with limits for each case
verdicts.py      what a case did
smaller.py       the smallest case that fails in the same way
campaign.py      all of it, by several processes, as one table
kills.py, disks.py, races.py, pages.py
                 the other campaigns
"""
