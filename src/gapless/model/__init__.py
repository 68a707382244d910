"""The vocabulary: frozen dataclasses and enums of the field's own words, standard library only."""
