"""The filter in force: how it gets there, and that ordinary programs run under each variant of it."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lattice_agent.exec.filter_export import export_filter
from lattice_agent.exec.kernel import libc, seccomp
from lattice_agent.exec.syscalls import Variant
from tests.rigs.extent import mostly_long
from tests.rigs.filtered_child import call, errno_of

NOBODY = 65534
OUTER_LIMIT_S = 60
PR_SET_NO_NEW_PRIVS = 38
VARIANTS = [
    Variant(inet=True, memory_watch=False),
    Variant(inet=False, memory_watch=False),
    Variant(inet=True, memory_watch=True),
    Variant(inet=False, memory_watch=True),
    Variant(inet=True, memory_watch=True, shares_host=True),
    Variant(inet=False, memory_watch=True, shares_host=True),
]
ALLOW = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF_0000)
"""One instruction: return SECCOMP_RET_ALLOW."""

needs_root = pytest.mark.needs_root


# --- install ---


@pytest.mark.parametrize("program", [b"", ALLOW[:-1], ALLOW + b"\0", ALLOW * 4097], ids=len)
def test_a_program_of_impossible_length_is_refused(program: bytes) -> None:
    with pytest.raises(OSError, match=rf"a filter of {len(program)} bytes is not 1 to 4096 instructions of 8"):
        seccomp.install(program)


@needs_root
def test_the_kernel_takes_the_longest_program_and_refuses_a_wrong_one() -> None:
    assert errno_of(partial(seccomp.install, ALLOW * seccomp.INSTRUCTIONS_MOST), None) == "works"
    assert errno_of(partial(seccomp.install, b"\xff" * 8), None) == "EINVAL"


def is_put_in_force() -> None:
    assert not seccomp.in_force()
    seccomp.install(export_filter(VARIANTS[0]))
    assert seccomp.in_force()


@needs_root
def test_in_force_says_what_the_kernel_says() -> None:
    assert errno_of(is_put_in_force, None) == "works"
    assert not seccomp.in_force()


def without_no_new_privileges() -> None:
    os.setresuid(NOBODY, NOBODY, NOBODY)
    seccomp.install(ALLOW)


@needs_root
def test_the_unprivileged_need_no_new_privs_first() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            without_no_new_privileges()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 255)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 13  # EACCES


@needs_root
def test_it_stays_over_exec_and_in_children() -> None:
    code = "import ctypes, os; os.fork(); libc = ctypes.CDLL(None, use_errno=True); "
    code += "print(libc.unshare(0), ctypes.get_errno(), flush=True)"
    done = confined([sys.executable, "-I", "-S", "-c", code], export_filter(VARIANTS[0]), "/", uid=0)
    assert done.stdout == "-1 1\n-1 1\n"


def a_filter_of_its_own() -> None:
    call("seccomp", 2, 0, struct.pack("I", 0x7FFF_0000))  # SECCOMP_GET_ACTION_AVAIL
    seccomp.install(ALLOW)


@needs_root
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_script_may_narrow_itself_further(variant: Variant) -> None:
    assert errno_of(a_filter_of_its_own, export_filter(variant)) == "works"


# --- ordinary programs ---

PYTHON = r"""
import array, asyncio, concurrent.futures, ctypes, fcntl, hashlib, http.server, locale, mmap, multiprocessing, os
import platform, pty, resource, select, shutil, signal, socket, sqlite3, ssl, subprocess, sys, tarfile, tempfile
import threading, time, urllib.request
from multiprocessing import shared_memory

INET, WATCHED = "inet" in sys.argv, "memory_watch" in sys.argv

def refused(action, *arguments):
    try:
        action(*arguments)
    except PermissionError:
        return True
    return False

def square(number):
    return number * number

def add(value, queue):
    with value.get_lock():
        value.value += 1
    queue.put(os.getpid())

def processes():
    with multiprocessing.Pool(2) as pool:
        assert pool.map(square, range(20)) == [n * n for n in range(20)]
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        value, queue = context.Value("i", 0), context.Queue()
        started = [context.Process(target=add, args=(value, queue)) for _ in range(2)]
        [each.start() for each in started]
        assert len({queue.get(timeout=20) for _ in started}) == 2
        [each.join() for each in started]
        assert value.value == 2
    block = shared_memory.SharedMemory(create=True, size=10000)
    block.buf[:2] = b"ok"
    block.close()
    block.unlink()
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        assert pool.submit(square, 3).result() == 9
    assert subprocess.run(["sh", "-c", "echo $((1+1))"], capture_output=True, text=True).stdout == "2\n"
    assert subprocess.run("exit 3", shell=True).returncode == 3
    process = subprocess.Popen(["sleep", "20"], start_new_session=True)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM

def threads():
    seen = []
    started = [threading.Thread(target=lambda: seen.append(threading.get_native_id())) for _ in range(8)]
    [each.start() for each in started]
    [each.join() for each in started]
    assert len(seen) == 8
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(square, range(4))) == 14

def memory():
    assert refused(os.memfd_create, "x") is WATCHED
    assert refused(mmap.mmap, -1, 4096) is WATCHED
    mmap.mmap(-1, 4096, mmap.MAP_PRIVATE).close()
    with tempfile.TemporaryFile() as file:
        file.truncate(1 << 20)
        view = mmap.mmap(file.fileno(), 1 << 20)
        view[:2] = b"ab"
        view.madvise(mmap.MADV_WILLNEED)
        view.flush()
        view.resize(2 << 20)
        view.close()
        assert file.read(2) == b"ab"
    many = [bytearray(1 << 20) for _ in range(50)]
    ctypes.CDLL(None).mlock(ctypes.c_char_p(b"x" * 100), 100)

def files():
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        os.mkfifo("fifo")
        os.symlink("fifo", "link")
        with open("a", "wb") as file:
            file.write(bytes(100000))
            fcntl.flock(file, fcntl.LOCK_EX)
            fcntl.lockf(file, fcntl.LOCK_EX)
            os.set_inheritable(file.fileno(), True)
            os.set_inheritable(file.fileno(), False)
            os.fsync(file.fileno())
        os.utime("a", (1, 2))
        os.chmod("a", 0o640)
        shutil.copy2("a", "b")
        with open("a", "rb") as source, open("c", "wb") as target:
            os.copy_file_range(source.fileno(), target.fileno(), 1000)
            os.sendfile(target.fileno(), source.fileno(), 0, 1000)
            assert refused(fcntl.ioctl, source, 0x5412, b"x")
            try:
                fcntl.ioctl(source, 0x5401, bytes(60))
            except OSError as error:
                assert error.errno == 25
        os.makedirs("d/e")
        shutil.copytree("d", "f")
        with tarfile.open("t.tar.gz", "w:gz") as archive:
            archive.add("a")
        with tarfile.open("t.tar.gz") as archive:
            archive.extractall("out")
        list(os.scandir("."))
        os.statvfs(".")
        os.sync()
        base = sqlite3.connect("base")
        base.execute("pragma journal_mode=wal")
        with base:
            base.execute("create table t (x)")
            base.executemany("insert into t values (?)", [(n,) for n in range(100)])
        assert base.execute("select count(*) from t").fetchone() == (100,)
        base.close()
        os.chdir("/")

def waiting():
    read, write = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(write, 1032)
    assert refused(fcntl.fcntl, write, 1031, 65536) is WATCHED
    poll = select.epoll()
    poll.register(read, select.EPOLLIN)
    os.write(write, b"x")
    assert poll.poll(1)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.pause()
    signal.sigtimedwait({signal.SIGUSR1}, 0)
    os.eventfd(0)
    time.sleep(0.001)

def terminal():
    leader, follower = pty.openpty()
    assert os.isatty(follower)
    os.get_terminal_size(follower)
    fcntl.ioctl(follower, 0x5414, bytes(8))
    pid, fd = pty.fork()
    if pid == 0:
        os.write(1, b"in a terminal")
        os._exit(0)
    assert b"in a terminal" in os.read(fd, 100)
    os.waitpid(pid, 0)

def itself():
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, resource.getrlimit(limit))
    os.nice(1)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.setpriority(os.PRIO_PROCESS, 0, 2)
    os.setsid() if os.getpid() != os.getsid(0) else None
    os.getrandom(8)
    os.umask(0o22)
    platform.platform()
    locale.setlocale(locale.LC_ALL, "")
    hashlib.scrypt(b"x", salt=b"y", n=2, r=1, p=1)
    ssl.create_default_context()
    os.pidfd_open(os.getpid())

async def talk(kind):
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()
    if kind == "unix":
        path = tempfile.mkdtemp() + "/socket"
        server = await asyncio.start_unix_server(serve, path)
        reader, writer = await asyncio.open_unix_connection(path)
    else:
        server = await asyncio.start_server(serve, "localhost", 0, family=socket.AF_INET)
        reader, writer = await asyncio.open_connection("localhost", server.sockets[0].getsockname()[1])
    writer.write(b"hello\n")
    assert await reader.readline() == b"HELLO\n"
    writer.close()
    server.close()
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert (await process.communicate(b"through"))[0] == b"through"
    await asyncio.to_thread(time.sleep, 0)

def network():
    one, two = socket.socketpair()
    socket.send_fds(one, [b"x"], [0])
    assert len(socket.recv_fds(two, 10, 1)[1]) == 1
    asyncio.run(talk("unix"))
    assert refused(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)
    assert refused(socket.socket) is not INET
    assert refused(one.setsockopt, socket.SOL_SOCKET, socket.SO_SNDBUF, 4096) is WATCHED
    one.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    if INET:
        asyncio.run(talk("inet"))
        handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
            assert answer.status == 200
        server.shutdown()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        udp.sendto(b"x", udp.getsockname())
        assert udp.recv(10) == b"x"
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()

if __name__ == "__main__":
    for part in (processes, threads, memory, files, waiting, terminal, network, itself):
        part()
    print("done")
"""

NODE = r"""
const assert = require('node:assert'), fs = require('node:fs'), os = require('node:os'), path = require('node:path');
const child = require('node:child_process'), crypto = require('node:crypto'), net = require('node:net');
const http = require('node:http'), zlib = require('node:zlib'), dns = require('node:dns');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

if (process.argv[2] === 'child') {
  process.on('message', (m) => { process.send(m + 1); process.disconnect(); });
  return;
}
if (!isMainThread) {
  const shared = new Int32Array(workerData);
  Atomics.add(shared, 0, 41); Atomics.notify(shared, 0);
  parentPort.postMessage('worker');
  return;
}
const inet = process.argv.includes('inet'), watched = process.argv.includes('memory_watch');

async function files() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'n-')), file = path.join(dir, 'a');
  await fs.promises.writeFile(file, 'x'.repeat(100000));
  await fs.promises.copyFile(file, file + '2');
  fs.cpSync(dir, dir + '-copy', { recursive: true });
  if (watched) {
    assert.throws(() => fs.watch(dir));  // its unread events would be memory that nobody counts
    fs.appendFileSync(file, 'y');
  } else {
    const watcher = fs.watch(dir), seen = new Promise((resolve) => watcher.once('change', resolve));
    fs.appendFileSync(file, 'y');
    await seen;
    watcher.close();
  }
  await new Promise((resolve, reject) => fs.createReadStream(file).pipe(zlib.createGzip())
    .pipe(fs.createWriteStream(file + '.gz')).on('finish', resolve).on('error', reject));
  assert.equal(zlib.gunzipSync(fs.readFileSync(file + '.gz')).length, 100001);
  fs.rmSync(dir, { recursive: true }); fs.rmSync(dir + '-copy', { recursive: true });
}
async function processes() {
  assert.equal(child.execFileSync('sh', ['-c', 'echo hi']).toString(), 'hi\n');
  const other = child.fork(__filename, ['child']);
  other.send(1);
  assert.equal(await new Promise((resolve) => other.once('message', resolve)), 2);
  const result = child.spawnSync('cat', { input: 'through' });
  assert.equal(result.stdout.toString(), 'through');
}
async function threads() {
  const shared = new SharedArrayBuffer(4);
  const worker = new Worker(__filename, { workerData: shared });
  const said = new Promise((resolve, reject) => { worker.once('message', resolve); worker.once('error', reject); });
  assert.equal(await said, 'worker');
  assert.equal(new Int32Array(shared)[0], 41);
  await worker.terminate();
  await new Promise((resolve, reject) => crypto.scrypt('a', 'b', 32, (e) => e ? reject(e) : resolve()));
}
async function wasm() {
  const bytes = Buffer.from('0061736d0100000001070160027f7f017f03020100' +
    '0707010361646400000a09010700200020016a0b', 'hex');
  const { instance } = await WebAssembly.instantiate(bytes);
  assert.equal(instance.exports.add(40, 2), 42);
  new WebAssembly.Memory({ initial: 10, maximum: 100, shared: true }).grow(5);
}
async function sockets() {
  const where = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 's-')), 'socket');
  const server = net.createServer((s) => s.end('unix')).listen(where);
  const text = await new Promise((resolve) => net.connect(where).once('data', (d) => resolve(d.toString())));
  assert.equal(text, 'unix');
  server.close();
  const local = http.createServer((_, answer) => answer.end('http'));
  if (inet) {
    await new Promise((resolve) => local.listen(0, '127.0.0.1', resolve));
    assert.equal(await (await fetch(`http://127.0.0.1:${local.address().port}/`)).text(), 'http');
    local.closeAllConnections(); local.close();
    await dns.promises.lookup('localhost');
  } else {
    const error = await new Promise((resolve) => local.on('error', resolve).listen(0, '127.0.0.1'));
    assert.equal(error.code, 'EPERM');
  }
}
(async () => {
  for (const part of [files, processes, threads, wasm, sockets]) await part();
  os.cpus(); os.userInfo(); os.setPriority(5); process.memoryUsage(); process.resourceUsage();
  await import('node:fs/promises');
  console.log('done');
})().catch((error) => { console.error(error); process.exit(1); });
"""

SHELL = r"""
set -eu
export HOME="$PWD" LC_ALL=C
echo text > a; cat < a | tee b | grep -c text
sort -R /etc/passwd | sort -k1 | awk -F: '{ n++ } END { if (n < 3) exit 1 }'
sed -i s/text/other/ a; diff a b && exit 1
cp -a a c; cp --reflink=auto a d; ln -s a e; ln a f; mv f g; touch -d yesterday g; chmod 600 g; chown "$(id -u)" g
mkdir -p x/y; mkfifo pipe; (echo through > pipe &); read -r line < pipe; [ "$line" = through ]
dd if=/dev/zero of=zeros bs=4k count=20 2>/dev/null; truncate -s 1M zeros; split -n 4 zeros part
du -s . >/dev/null; df . >/dev/null
tar czf t.tgz a x; mkdir out; tar xzf t.tgz -C out; gzip -k zeros; gzip -dc zeros.gz | cmp - zeros
sha256sum a | sha256sum -c --quiet -
find . -type f -print0 | xargs -0 -P2 -n1 wc -c >/dev/null
flock lock true; timeout 5 true; nice true; setsid true; nohup true 2>/dev/null; stdbuf -oL true; sync; ulimit -c 0
{ sleep 20 & kill $!; wait $! || [ $? -eq 143 ]; } 2>/dev/null
trap 'got=1' USR1; kill -USR1 $$; [ "$got" = 1 ]
date >/dev/null; id >/dev/null; uname -a >/dev/null; nproc >/dev/null
stat a >/dev/null; ls -laR . >/dev/null; env >/dev/null
perl -e 'open(my $f, "<", "a") or die; print "perl\n" if <$f>' | grep -q perl
git init -q r; cd r; git config user.email a@b; git config user.name c; echo 1 > f; git add f; git commit -qm one
git clone -q . ../clone; git gc -q; git log --oneline | wc -l; cd ..
echo done
"""
BASH = r"""
set -euo pipefail
mapfile -t lines < <(printf '%s\n' one two); [ "${#lines[@]}" -eq 2 ]
diff <(echo a) <(echo a)
coproc cat; echo x >&"${COPROC[1]}"; read -r y <&"${COPROC[0]}"; [ "$y" = x ]
pid=$COPROC_PID; eval "exec ${COPROC[1]}>&-"; wait "$pid"
set -m; sleep 0.01 & wait $!; set +m
read -r -t 1 z <<< here; [ "$z" = here ]; ulimit -n 100; [ "$(ulimit -n)" = 100 ]
for i in {1..50}; do (exit 0) & done; wait; printf '%(%F)T\n' -1 >/dev/null
"""


def confined(
    command: list[str], program: bytes, directory: str, *, uid: int = NOBODY
) -> "subprocess.CompletedProcess[str]":
    """Run a command under a filter as an unprivileged user, with an outer limit of time."""

    def enter() -> None:
        libc.call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        seccomp.install(program)

    return subprocess.run(
        command,
        preexec_fn=enter,
        user=uid,
        group=uid,
        extra_groups=[],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": directory, "HOME": directory, "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=OUTER_LIMIT_S,
    )


@pytest.fixture
def directory() -> Iterator[str]:
    """A directory of the unprivileged user, on the file system of scripts."""
    path = tempfile.mkdtemp()
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def run_script(name: str, text: str, variant: Variant, directory: str) -> None:
    interpreter = shutil.which(name, path="/usr/bin:/bin")
    assert interpreter is not None
    script = Path(directory, "script")
    script.write_text(text)
    done = confined([interpreter, os.fspath(script), *variant.words()], export_filter(variant), directory)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("done\n")


@needs_root
@pytest.mark.slow
@pytest.mark.parametrize("variant", mostly_long(VARIANTS), ids=str)
def test_python_runs(variant: Variant, directory: str) -> None:
    run_script("python3", PYTHON, variant, directory)


@needs_root
@pytest.mark.slow
@pytest.mark.needs_node
@pytest.mark.parametrize("variant", mostly_long(VARIANTS), ids=str)
def test_node_runs(variant: Variant, directory: str) -> None:
    run_script("node", NODE, variant, directory)


@needs_root
@pytest.mark.slow
@pytest.mark.parametrize("variant", mostly_long(VARIANTS), ids=str)
@pytest.mark.parametrize("name", ["sh", "bash"])
def test_shells_and_their_tools_run(name: str, variant: Variant, directory: str) -> None:
    run_script(name, (BASH if name == "bash" else "") + SHELL, variant, directory)
