"""The systems this project started from, each as its paper describes it, with its claim tested."""
