"""The face: options to orders, records to words, errors to exit codes. One file a command."""
