"""The commands, one file each: `main` takes the words after the command and gives the exit code."""
