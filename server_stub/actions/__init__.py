"""What the control plane does: each function is the work of one transaction.

It reads rows, asks the rules, writes rows and the audit; it knows no HTTP and no SQL. ``Refused`` leaves everything
as it was. Time is passed in.
"""
