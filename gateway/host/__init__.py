"""This machine: the only source of time, randomness, environment variables and signals, and the code for files and threads.

clock         time and randomness
deadlines     what may last until an instant, with one timer for many
environment   variables of the environment, and the files that hold secrets
signals       SIGTERM, SIGINT, SIGHUP, and what suspends a process
terminal      the keys of a terminal (streams_end: a pipe without a reader)
systemd       the protocols of systemd: readiness, watchdog, sockets
blocking      blocking calls in threads
append_file   a file that only grows, through log rotation (line_writer: lines of the log, without waiting)
new_file      the name of a file that is written aside first
address_file  where a running gateway listens, for the commands
machine       the name of this host
certificates  certificates and keys
descriptors   the limit of open files
absent        importing a library without one that it would use
"""
