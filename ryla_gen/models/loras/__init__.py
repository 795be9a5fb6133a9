"""Read, store, push, check and remove LoRAs. Stores are passed in; must not know a backend or a job."""
