"""One file a command; each has a `command`, loaded when it is called."""
