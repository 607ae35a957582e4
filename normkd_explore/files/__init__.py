"""Files that are read and written safely: whole or not at all, checked, and with errors that say what to do."""
