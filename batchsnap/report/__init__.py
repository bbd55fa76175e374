"""What happened, for people and scripts: folds of the ledger's records, nothing of its own.

summary  F0  records -> Summary, and the exit code it means
facts        records -> one line a row: state, ids, code, what to do
figures      records -> time series, thinned so that no peak is lost
progress     rate, ETA, doubts and the next deferral of a run that is going on
why          why rows wait, in one line, and what went wrong for the first time
text         a Summary and its reasons as text and JSON
story        a ledger read once for a report, with its manifest where that is still the same
files        CSV, the failed rows as a manifest, and the door that writes reports whole
restore      the map of disks, snapshots and copies to rebuild by
page         one self-contained HTML file
"""
