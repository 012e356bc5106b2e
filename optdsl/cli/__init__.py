"""The command line: one file a command, from arguments to a library call to an exit code."""
