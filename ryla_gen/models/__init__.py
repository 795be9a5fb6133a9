"""Model files: the table of weights, node schemas, licences, downloads, stored LoRAs. Knows no workflow and runs no graph."""
