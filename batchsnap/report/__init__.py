"""What happened, for people and scripts: folds of the ledger's records, nothing of its own.

summary  F0  records -> Summary, and the exit code it means
render       Summary and rows as text, JSON, CSV
page         one self-contained HTML file
"""
