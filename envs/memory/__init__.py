"""Small tasks that isolate one demand on memory."""
