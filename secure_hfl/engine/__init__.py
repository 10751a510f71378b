"""How a task runs at each party, from joining to results. Users see the schedulers; this is behind `launch_task`."""
