"""The content repository: uploads, downloads and thumbnails. Start reading at `find_media.py`."""
