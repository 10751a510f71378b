"""What a run tells of itself, put together for people: its story from the progress file, and charts of it.

For the console, which sends both to a browser as they change, and for notebooks.
"""
