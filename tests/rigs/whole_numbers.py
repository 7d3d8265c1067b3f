"""Hook of schemathesis: 15.0 is a whole number for JSON Schema, and none for this server, which reads numbers as Go
does (protocol reference 1.0). Such bodies are not sent as examples of right ones."""

import schemathesis


@schemathesis.hook
def filter_body(_context: schemathesis.HookContext, body: object) -> bool:
    return not _has_whole_float(body)


def _has_whole_float(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_whole_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_whole_float, value))
    return isinstance(value, float) and value.is_integer()
