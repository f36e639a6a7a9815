"""Speed, measured side by side: `python -m neuroode.bench [lif] [ecg] [start]`, what `make bench` runs."""
