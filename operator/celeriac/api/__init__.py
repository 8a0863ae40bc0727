"""The words that everybody shares: names, keys, reasons. Imports nothing of the rest."""
