"""The face: options to what is asked, records to words, errors to exit codes.

main       the group of commands, and the one place where an error becomes an exit code
options    what several commands share, and how texts become values
output     what is said and shown, through one writer
question   before money is spent: what to beware of, one question, and what that stands on
progress   a run's live view
metrics    its Prometheus numbers
aftercare  a ledger taken up again: settle, wait, rollback
cluster    a run whose ledger many machines share
commands/  one file a command
"""
