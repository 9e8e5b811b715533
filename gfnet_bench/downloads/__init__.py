"""Files from elsewhere: reaching a server, fetching, checking and unpacking what it sends."""
