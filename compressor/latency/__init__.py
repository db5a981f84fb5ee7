"""What a network of any widths takes in the runtime: measured layer by layer, and checked on whole networks."""
