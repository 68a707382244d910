"""The controller: takes what users want, decides where each router runs, records what happened."""
