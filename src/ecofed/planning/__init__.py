"""Before anything is trained: what a run will cost, settings to start from, and this machine measured."""
