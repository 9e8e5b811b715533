"""How the cells of a study are measured: a machine with data, networks and time; these need torch."""
