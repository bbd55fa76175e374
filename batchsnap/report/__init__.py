"""What happened, for people and scripts: folds of the ledger's records, nothing of its own.

summary  F0  records -> Summary, the exit code it means, the reasons; as text and JSON
figures      records -> time series, thinned so that no peak is lost
progress     a run that is going on: pace, ETA, doubts, why rows wait, each first fault
story        a ledger read once for a report: one fact a row, with the manifest where it is the same
files        CSV, the failed rows as a manifest, and the door that writes reports whole
page         one self-contained HTML file
"""
