"""Databases that earlier versions wrote, opened by this one. Start reading at `test_old_databases`."""
