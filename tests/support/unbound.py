"""Configuration of an Unbound of the tests' own."""

FOREGROUND = """\
server:
    username: ""
    chroot: ""
    pidfile: ""
    directory: "{folder}"
    use-syslog: no
    logfile: ""
    do-daemonize: no
"""
"""It runs as whoever starts it, in the folder named, leaves nothing, and says what it says on standard error; more of `server:` may follow."""
