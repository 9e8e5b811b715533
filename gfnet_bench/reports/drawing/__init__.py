"""How tables, figures and plots look, whatever they are about."""
