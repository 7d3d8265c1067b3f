/*
 * What the two halves of this program share: the way into the kernel, and the way out. No libc: see cell.c.
 */

#ifndef LATTICE_CALLS_H
#define LATTICE_CALLS_H

#include <linux/types.h>
#include <asm/unistd.h>

#define EINTR_ 4

typedef unsigned long word;

#if defined(__x86_64__)
static inline long call6(long number, word a, word b, word c, word d, word e, word f)
{
	register word r10 __asm__("r10") = d;
	register word r8 __asm__("r8") = e;
	register word r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
static inline long call6(long number, word a, word b, word c, word d, word e, word f)
{
	register word x8 __asm__("x8") = (word)number;
	register word x0 __asm__("x0") = a;
	register word x1 __asm__("x1") = b;
	register word x2 __asm__("x2") = c;
	register word x3 __asm__("x3") = d;
	register word x4 __asm__("x4") = e;
	register word x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return (long)x0;
}
#else
#error "this architecture is not supported: add its system call and entry sequences"
#endif

static inline long call(long number, word a, word b, word c, word d)
{
	return call6(number, a, b, c, d, 0, 0);
}

static inline void leave(int status)
{
	for (;;)
		call(__NR_exit_group, (word)status, 0, 0, 0);
}

/* maker.c: carries out the recipe that waits in descriptor 3; never returns. */
void be_maker(void);

#endif
