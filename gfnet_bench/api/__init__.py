"""The front door: what `import gfnet_bench` offers. It says in Python what the commands say in words."""
