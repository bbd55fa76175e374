"""The manifest room: a file that people and tools wrote, in; validated `model.DiskRow`s, out.

- `cells`      F0  the law of one cell: ids, regions (also by name), names, deadlines, tags
- `columns`    F0  which column a header means, and which known one a misspelt header meant
- `rows`       F0  `Header`: the columns of one file, compiled; cells -> DiskRow or all problems
- `tables`     F0  lines of CSV or TSV -> rows
- `documents`  F0  JSON Lines, JSON arrays and printed DescribeDisks replies -> rows
- `objects`    F0  one JSON object -> column names and text cells
- `encoding`   F0  which encoding bytes are in, and the first place where they are not
- `reader`     F1  `Manifest`: the door; opens a path or standard input, streams, digests

Inside the room a row is either a `DiskRow` or one or more `Problem`s; nothing is raised for what
a file holds, so one pass finds everything. Only `Manifest.open` raises, where there is no file.
"""
