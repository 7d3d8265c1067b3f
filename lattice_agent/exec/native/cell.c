/*
 * The two processes of a cell that wait: its init and its launcher. One program, freestanding and static, because what
 * waits is paid for in memory by every cell and what starts is paid for in time by every task: no libc, no allocation,
 * a few pages. lattice_agent/exec/cell.py executes it in a process that is confined already; this file holds no policy,
 * it takes the last steps that init and launcher do not share, as its arguments say:
 *
 *     cell UID GID RULESET CLEAR BOUND
 *
 * With BOUND=1 it empties the capability bounding set, here and not in Python because that is 41 system calls. It forks.
 * The child, the launcher, enters the Landlock domain of descriptor RULESET (0: none), becomes UID and GID
 * (0: stays who it is) and with CLEAR=1 gives up all capabilities. It waits for one message
 * on its socket (lattice_agent/exec/dispatch.py), lowers the limits named there and becomes the interpreter. If any of
 * this fails, the errno goes back over the socket and nothing is executed.
 *
 * The parent, the init, reaps. When the launcher has ended it kills whatever is left (kill -1 reaches exactly the cell:
 * its pid namespace, or the signal scope it lives in), waits until no process is left, writes one record to the status
 * pipe and exits. SIGTERM is passed on to everything in the cell; SIGUSR2 kills everything.
 */

#include <linux/resource.h>
#include <linux/signal.h>

#include "calls.h"

#define CHANNEL 3 /* the launcher's socket */
#define STATUS 4 /* the init's pipe */
#define MESSAGE_MOST 49152
#define ITEMS_MOST 512
#define EXIT_NOT_STARTED 126
#define WALL 0x40000000
#define WNOHANG_ 1
#define F_SETFD_ 2
#define FD_CLOEXEC_ 1
#define PR_SET_DUMPABLE_ 4
#define PR_CAPBSET_DROP_ 24
#define CAPABILITIES_MOST 64
#define PR_CAP_AMBIENT_ 47
#define AMBIENT_CLEAR_ALL 4
#define CAPABILITY_VERSION_3 0x20080522
#define CAP_KILL_ 5
#define SA_RESTORER_ 0x04000000

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call begin\n hlt\n"
	".globl restore\nrestore:\n mov $15,%eax\n syscall\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x0,sp\n bl begin\n brk #0\n"
	".globl restore\nrestore:\n mov x8,#139\n svc #0\n");
#endif

void restore(void);

/* What wait4(2) fills in: struct rusage of the kernel. */
struct usage {
	long user_s, user_us, system_s, system_us, max_rss_kib, rest[13];
};

/* Written by init when the cell is empty; read by lattice_agent/exec/dispatch.py. */
struct record {
	int status;
	unsigned killed;
	__u64 cpu_us;
	__u64 max_rss_kib;
};

struct capabilities {
	unsigned effective, permitted, inheritable;
};

struct action {
	void (*handler)(int);
	word flags;
	void (*restorer)(void);
	word mask;
};

static char message[MESSAGE_MOST];
static char *items[ITEMS_MOST + 2];

static word number_of(const char *text)
{
	word value = 0;
	while (*text >= '0' && *text <= '9')
		value = value * 10 + (word)(*text++ - '0');
	return value;
}

static void kill_all(int signal)
{
	call(__NR_kill, (word)-1, (word)signal, 0, 0);
}

static void on_terminate(int signal)
{
	(void)signal;
	kill_all(SIGTERM);
	kill_all(SIGCONT); /* a stopped process would keep the SIGTERM pending */
}

static void on_destroy(int signal)
{
	(void)signal;
	kill_all(SIGKILL);
}

static void handle(int signal, void (*handler)(int))
{
	struct action action = {handler, SA_RESTORER_, restore, 0};
	call(__NR_rt_sigaction, (word)signal, (word)&action, 0, sizeof action.mask);
}

static void unblock_signals(void)
{
	word none = 0;
	call(__NR_rt_sigprocmask, SIG_SETMASK, (word)&none, 0, sizeof none);
}

static long have_only(unsigned present)
{
	unsigned header[2] = {CAPABILITY_VERSION_3, 0};
	struct capabilities sets[2] = {{present, present, 0}, {0, 0, 0}};

	call(__NR_prctl, PR_CAP_AMBIENT_, AMBIENT_CLEAR_ALL, 0, 0);
	return call(__NR_capset, (word)header, (word)sets, 0, 0);
}

static void empty_bounding_set(void)
{
	word number;

	/* The first number that the kernel does not know ends the list; a refusal leaves CapBnd for the probe to see. */
	for (number = 0; number < CAPABILITIES_MOST; number++)
		if (call(__NR_prctl, PR_CAPBSET_DROP_, number, 0, 0) < 0)
			break;
}

static void be_init(word launcher)
{
	struct record record = {0, 0, 0, 0};
	struct usage usage;
	int status, ended = 0;
	word options = WALL;

	for (;;) {
		long pid = call(__NR_wait4, (word)-1, (word)&status, options, (word)&usage);
		if (pid == -EINTR_)
			continue;
		if (pid < 0) /* ECHILD: nobody is left */
			break;
		if (pid == 0) { /* the launcher has ended, others have not */
			kill_all(SIGKILL);
			options = WALL;
			continue;
		}
		if ((word)pid == launcher) {
			ended = 1;
			record.status = status;
			record.cpu_us = (__u64)(usage.user_s + usage.system_s) * 1000000 + (__u64)(usage.user_us + usage.system_us);
			record.max_rss_kib = (__u64)usage.max_rss_kib;
			options = WALL | WNOHANG_;
		} else if (ended) {
			record.killed += (status & 0x7f) == SIGKILL;
			options = WALL | WNOHANG_;
		}
	}
	call(__NR_write, STATUS, (word)&record, sizeof record, 0);
	leave(0);
}

struct header {
	__u32 limits, arguments, variables, unused;
};

struct limit {
	__u64 resource, soft, hard;
};

static void fail(long error)
{
	int number = (int)-error;
	call(__NR_write, CHANNEL, (word)&number, sizeof number, 0);
	leave(EXIT_NOT_STARTED);
}

static void must(long result)
{
	if (result < 0)
		fail(result);
}

static void confine(word uid, word gid, word ruleset, word clear)
{
	if (ruleset) {
		must(call(__NR_landlock_restrict_self, ruleset, 0, 0, 0));
		call(__NR_close, ruleset, 0, 0, 0);
	}
	if (uid) {
		must(call(__NR_setresgid, gid, gid, gid, 0));
		must(call(__NR_setresuid, uid, uid, uid, 0));
	}
	if (clear)
		must(have_only(0));
}

static void be_launcher(void)
{
	struct header *header = (struct header *)message;
	long length, at, i;

	do
		length = call(__NR_read, CHANNEL, (word)message, MESSAGE_MOST - 1, 0);
	while (length == -EINTR_);
	if (length < (long)sizeof *header)
		leave(EXIT_NOT_STARTED); /* hung up: this cell is not needed */
	if (header->arguments < 1 || header->arguments > ITEMS_MOST || header->variables > ITEMS_MOST - header->arguments)
		fail(-7);
	at = (long)sizeof *header + (long)header->limits * (long)sizeof(struct limit);
	if (header->limits > 16 || at > length)
		fail(-7);
	for (i = 0; i < (long)header->limits; i++) {
		struct limit *limit = (struct limit *)(message + sizeof *header) + i;
		__u64 present[2];
		if (limit->soft > limit->hard)
			fail(-22); /* EINVAL, as prlimit(2) has it */
		/* A limit can only fall: what the host allows bounds what is asked for. */
		must(call(__NR_prlimit64, 0, limit->resource, 0, (word)present));
		if (limit->hard > present[1])
			limit->hard = present[1];
		if (limit->soft > limit->hard)
			limit->soft = limit->hard;
		must(call(__NR_prlimit64, 0, limit->resource, (word)&limit->soft, 0));
	}
	message[length] = 0;
	for (i = 0; i < (long)(header->arguments + header->variables); i++) {
		/* Arguments, a null, variables, a null: execve's two arrays in one. */
		if (at >= length)
			fail(-7);
		items[i < (long)header->arguments ? i : i + 1] = message + at;
		while (message[at])
			at++;
		at++;
	}
	must(call(__NR_fcntl, CHANNEL, F_SETFD_, FD_CLOEXEC_, 0));
	fail(call(__NR_execve, (word)items[0], (word)items, (word)(items + header->arguments + 1), 0));
}

void begin(word *stack)
{
	char **arguments = (char **)(stack + 1);
	word uid, gid, ruleset, clear, bound;
	long launcher;

	if (stack[0] == 1)
		be_maker();
	if (stack[0] != 6)
		leave(2);
	uid = number_of(arguments[1]);
	gid = number_of(arguments[2]);
	ruleset = number_of(arguments[3]);
	clear = number_of(arguments[4]);
	bound = number_of(arguments[5]);
	if (bound)
		empty_bounding_set();
	call(__NR_prctl, PR_SET_DUMPABLE_, 0, 0, 0);
	launcher = call(__NR_clone, SIGCHLD, 0, 0, 0);
	if (launcher == 0) {
		call(__NR_close, STATUS, 0, 0, 0);
		confine(uid, gid, ruleset, clear);
		unblock_signals();
		be_launcher();
	}
	/*
	 * The pipes stay open here: their end-of-file then comes with the end of the cell, and wakes nobody before.
	 */
	call(__NR_close, CHANNEL, 0, 0, 0);
	if (ruleset)
		call(__NR_close, ruleset, 0, 0, 0);
	if (launcher < 0)
		leave(EXIT_NOT_STARTED);
	/* From here on a script may run. */
	handle(SIGTERM, on_terminate);
	handle(SIGUSR2, on_destroy);
	unblock_signals(); /* they were held back over the exec: nothing that came early is lost */
	have_only(uid ? 1u << CAP_KILL_ : 0);
	be_init((word)launcher);
}
