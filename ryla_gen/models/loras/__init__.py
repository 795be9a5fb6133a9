"""LoRAs: what their files tell, how they are stored, pushed, checked and removed. Stores are given; knows no backend and no job."""
