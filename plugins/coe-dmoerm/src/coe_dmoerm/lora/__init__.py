"""The `lora` backbone: adapters on a causal language model read the answers."""
