"""Everything that the process writes: lines for people, log lines, whole files. Imports nothing else of the project.

console         a command's exit status, and the line that says what went wrong
extras          packages that only some verbs need, and how to install them
log_writer      writes log lines, and holds nobody up
logs            log lines, as text or JSON
printable       makes strangers' text fit for logs, JSON and metrics
system_errors   errors of the operating system, in words
true_places     where a folder is once symbolic links are followed
verbs           the verbs of a command line, listed
whole_files     files written whole or not at all
"""
