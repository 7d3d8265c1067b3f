/*
 * The process that makes a cell. It decides nothing: it carries out a recipe, a list of system calls that the spawner has
 * written down (lattice_agent/exec/kernel/recipe.py has the format), and is then replaced by what the last of them
 * executes. Here and not in the spawner's own Python, because a fork of that costs more than all these calls together.
 *
 *     descriptor 3   a socket, SOCK_SEQPACKET, to and from the spawner. One message waits in it: the recipe, with the
 *                    descriptors it speaks of.
 *     answers        "=" and a process id, with its pidfd: the rest is done by this process, born in between
 *                    "+", with descriptors: what has been made
 *                    "-", number of the operation, errno: it failed, and nothing more will be done
 */

#include "calls.h"

#define REPORT_GIVEN 3
#define FREE_FD 16 /* from here on descriptors have no fixed meaning */
#define RESERVED_LAST 5 /* 3 to 5 are what native/cell waits with: nothing else may get these numbers */
#define MESSAGE_MOST 65536
#define PLACES_MOST 1024
#define PASSED_MOST 8
#define RIGHTS 1
#define SOL_SOCKET_ 1
#define MSG_NOSIGNAL_ 0x4000
#define F_DUPFD_CLOEXEC_ 1030
#define O_CLOEXEC_ 02000000
#define CLONE_PIDFD_ 0x1000
#define PR_SET_NAME_ 15
#define EXIT_FAILED 1
#define MAGIC 0x4c43454cU

enum kind { VALUE, DATA, RESULT, RESULT_ADDRESS };
enum own { BORN_AGAIN = -1, STORE_INT = -2, STORE_WORD = -3, HAND_OVER = -4 };
enum { ANY_ERROR = 0xffff };

struct operation {
	__s32 number; /* of a system call, or one of our own */
	__u16 place;  /* where its result goes; a tolerated failure leaves 0 there */
	__u8 skip_on_error, skip_on_success;
	__u16 tolerated[4]; /* error numbers after which the recipe goes on; 0: none */
	__u8 kinds[6];
	__u8 unused[2];
	__u64 values[6];
};

struct head {
	__u32 magic, operations, data_bytes, unused;
};

struct vector {
	void *base;
	word length;
};

struct envelope { /* struct msghdr */
	void *name;
	word name_length; /* an int and its padding */
	struct vector *vectors;
	word count;
	void *control;
	word control_length;
	word flags;
};

struct ancillary { /* struct cmsghdr and what follows it */
	word length;
	int level, type;
	int descriptors[PASSED_MOST];
};

struct clone_arguments {
	__u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static union {
	struct head head;
	char bytes[MESSAGE_MOST];
} recipe;
static char *data;
static int places[PLACES_MOST];
static int report;

static int send_with(void *text, word length, int *descriptors, word count)
{
	struct ancillary control = {sizeof(word) * 2 + count * sizeof(int), SOL_SOCKET_, RIGHTS, {0}};
	struct vector vector = {text, length};
	struct envelope envelope = {0, 0, &vector, 1, &control, sizeof(word) * 2 + ((count * sizeof(int) + 7) & ~7UL), 0};
	word i;

	for (i = 0; i < count; i++)
		control.descriptors[i] = descriptors[i];
	if (!count)
		envelope.control_length = 0;
	return (int)call(__NR_sendmsg, (word)report, (word)&envelope, MSG_NOSIGNAL_, 0);
}

static void failed(__u32 number, long error)
{
	struct {
		char kind[4];
		__u32 number, error;
	} text = {{'-'}, number, (__u32)-error};

	send_with(&text, sizeof text, 0, 0);
	leave(EXIT_FAILED);
}

static int out_of_the_way(int fd)
{
	int moved = (int)call(__NR_fcntl, (word)fd, F_DUPFD_CLOEXEC_, FREE_FD, 0);

	call(__NR_close, (word)fd, 0, 0, 0);
	return moved;
}

static void take_recipe(void)
{
	struct ancillary control;
	struct vector vector = {&recipe, sizeof recipe};
	struct envelope envelope = {0, 0, &vector, 1, &control, sizeof control, 0};
	word i, passed;
	long length;

	call(__NR_prctl, PR_SET_NAME_, (word)"lattice-maker", 0, 0);
	call(__NR_close_range, REPORT_GIVEN + 1, ~0U, 0, 0);
	report = out_of_the_way(REPORT_GIVEN);
	length = call(__NR_recvmsg, (word)report, (word)&envelope, 0, 0);
	if (length < (long)sizeof recipe.head || recipe.head.magic != MAGIC)
		leave(EXIT_FAILED);
	if (sizeof recipe.head + recipe.head.operations * sizeof(struct operation) + recipe.head.data_bytes != (word)length)
		leave(EXIT_FAILED);
	data = recipe.bytes + sizeof recipe.head + recipe.head.operations * sizeof(struct operation);
	passed = envelope.control_length > 2 * sizeof(word) ? (control.length - 2 * sizeof(word)) / sizeof(int) : 0;
	for (i = 0; i < passed; i++)
		places[i] = out_of_the_way(control.descriptors[i]);
	for (i = REPORT_GIVEN; i <= RESERVED_LAST; i++)
		call(__NR_dup3, 0, i, O_CLOEXEC_, 0);
}

static word resolved(const struct operation *operation, int at)
{
	word value = operation->values[at];

	switch (operation->kinds[at]) {
	case DATA:
		return (word)(data + value);
	case RESULT:
		return (word)(long)places[value];
	case RESULT_ADDRESS:
		return (word)&places[value];
	default:
		return value;
	}
}

/* The rest of the recipe is for a child in new namespaces, whose parent is ours: this process has done its part. */
static long born_again(word flags, word cgroup)
{
	struct {
		char kind[4];
		__u32 pid;
	} text = {{'='}, 0};
	int pidfd = -1;
	struct clone_arguments arguments = {flags | CLONE_PIDFD_, (word)&pidfd, 0, 0, 0, 0, 0, 0, 0, 0, cgroup};
	long pid = call(__NR_clone3, (word)&arguments, sizeof arguments, 0, 0);

	if (pid <= 0)
		return pid;
	text.pid = (__u32)pid;
	send_with(&text, sizeof text, &pidfd, 1);
	leave(0);
	return 0;
}

static long hand_over(const __u16 *which, word count)
{
	int descriptors[PASSED_MOST];
	word i;

	for (i = 0; i < count && i < PASSED_MOST; i++)
		descriptors[i] = places[which[i]];
	return send_with("+", 1, descriptors, i);
}

static long carry_out(const struct operation *operation)
{
	word a = resolved(operation, 0), b = resolved(operation, 1);

	switch (operation->number) {
	case BORN_AGAIN:
		return born_again(a, b);
	case STORE_INT:
		*(int *)a = (int)b;
		return 0;
	case STORE_WORD:
		*(word *)a = b;
		return 0;
	case HAND_OVER:
		return hand_over((const __u16 *)a, b);
	default:
		return call6(operation->number, a, b, resolved(operation, 2), resolved(operation, 3), resolved(operation, 4),
			     resolved(operation, 5));
	}
}

static int tolerated(const struct operation *operation, long error)
{
	int i;

	for (i = 0; i < 4 && operation->tolerated[i]; i++)
		if (operation->tolerated[i] == ANY_ERROR || operation->tolerated[i] == -error)
			return 1;
	return 0;
}

void be_maker(void)
{
	const struct operation *operations = (const struct operation *)(recipe.bytes + sizeof recipe.head);
	__u32 i;

	take_recipe();
	for (i = 0; i < recipe.head.operations; i++) {
		const struct operation *operation = operations + i;
		long result = carry_out(operation);

		if (result >= 0) {
			places[operation->place] = (int)result;
			i += operation->skip_on_success;
		} else if (tolerated(operation, result)) {
			i += operation->skip_on_error;
		} else {
			failed(i, result);
		}
	}
	leave(EXIT_FAILED); /* a recipe ends by executing something else */
}
