"""Define workflows: typed requests that know their ComfyUI graph and the weights it needs. No server, no backend."""
