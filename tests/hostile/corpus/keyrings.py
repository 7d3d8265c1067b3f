"""Use the kernel's key store: add keys, read keyrings, join another one."""

from attempts import attempt, call

ADD_KEY, REQUEST_KEY, KEYCTL = (248, 217), (249, 218), (250, 219)
SESSION, USER = -3, -4
GET_KEYRING_ID, JOIN_SESSION, DESCRIBE = 0, 1, 6


def request():
    call(ADD_KEY, b"user", b"hostile", b"x", 1, SESSION)
    call(REQUEST_KEY, b"user", b"hostile", None, SESSION)


attempt("keyctl, session keyring", call, KEYCTL, GET_KEYRING_ID, SESSION, 1)
attempt("keyctl, user keyring", call, KEYCTL, DESCRIBE, USER, bytes(128), 128)
attempt("keyctl, join a session", call, KEYCTL, JOIN_SESSION, b"hostile")
attempt("add_key", call, ADD_KEY, b"user", b"hostile", b"x", 1, SESSION)
attempt("request_key", request)
