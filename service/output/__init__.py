"""Everything that the process writes: lines for people, log lines, whole files. Imports nothing else of the project.

console         a command's exit status, and the line that says what went wrong
logs            log lines, as text or JSON
printable       makes strangers' text fit for logs, JSON and metrics
system_errors   errors of the operating system, in words
whole_files     files written whole or not at all
"""
