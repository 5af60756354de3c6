"""Who is on which line: accounting requests to sessions, and who held an address when. Pure; the sockets and files are drivers'."""
