"""What users report to the administrators. Start with `report_content.py`."""
