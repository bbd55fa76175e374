"""The face: options to orders, records to words, errors to exit codes.

main (the group, and errors to exit codes) · options (what several commands share, and how texts
become values) · output (what is said and shown) · connect (a command's way to the cloud) ·
progress (a run's live view) · metrics (its Prometheus numbers) · aftercare (a ledger taken up
again) · commands/ (one file a command).
"""
