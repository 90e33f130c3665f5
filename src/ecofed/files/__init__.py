"""Files and what is read from them: written whole or not at all, values held against types, one owner of a folder."""
