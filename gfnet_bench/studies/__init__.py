"""Studies combine the nouns: what to measure (`cells`) and how to measure one of them (`measure`)."""
