// SPDX-License-Identifier: GPL-2.0-only
/*
 * Run a command and disturb it at a chosen system call.
 *
 *   killat N COMMAND...        SIGKILL it as it enters its system call number N,
 *                              counted from 0. Those do not count that come when
 *                              nothing has changed since the one that counted last:
 *                              there were only system calls that change nothing,
 *                              and no store to a mapped map. A kill at either leaves
 *                              the same. The command's output is thrown away. Prints
 *                              "killed N NUMBER" (of the system call) or, if it
 *                              made fewer, "exited N STATUS".
 *   killat -t TYPE COMMAND...  Let it load no BPF program of this type: the kernel
 *                              says EINVAL, as one that does not know the type.
 *                              Ends with the command's exit status.
 *   killat -w COMMAND...       List the system calls that change something in the
 *                              kernel or in a file system, and succeed, one a line:
 *                              bpf(2) with the number of its command. What it
 *                              stores in mapped memory is not seen. The command's
 *                              output is thrown away.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* A map that the command may store to. */
struct mapping {
	uint64_t at; /* in the command; 0: none */
	size_t size;
	void *copy; /* as it was when last looked at */
};

struct job {
	uint64_t last; /* the system call before */
	long number; /* of the system call to kill at, -1: never */
	long seen; /* that count */
	struct __ptrace_syscall_info entry; /* of the system call that is under way */
	bool is_harmless;
	bool changed; /* something, since the last that counts */
	struct mapping mappings[32];
	uint32_t type; /* of the programs that shall not be loaded; 0: none */
	bool writes; /* list what changes something */
	bool is_write; /* the system call that is under way */
	uint64_t command; /* of bpf(2) */
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "killat: %s: %s\n", what, strerror(errno));
	exit(126);
}

__attribute__((noreturn)) static void run_command(char **argv, bool silent)
{
	int null = open("/dev/null", O_WRONLY);

	if (silent && (null < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0))
		die("/dev/null");
	if (null >= 0)
		close(null);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		die("PTRACE_TRACEME");
	raise(SIGSTOP);
	execvp(argv[0], argv);
	die(argv[0]);
}

/* The kernel shall refuse the program: give it a type that does not exist. */
static void spoil(pid_t pid, uint64_t attr, uint32_t type)
{
	uint32_t given, none = 0x7fff;
	struct iovec here = { &given, sizeof(given) };
	struct iovec there = { (void *)(uintptr_t)attr, sizeof(given) };

	if (process_vm_readv(pid, &here, 1, &there, 1, 0) != sizeof(given) || given != type)
		return;
	here.iov_base = &none;
	if (process_vm_writev(pid, &here, 1, &there, 1, 0) != sizeof(none))
		die("process_vm_writev");
}

static bool only_reads(uint64_t command)
{
	static const enum bpf_cmd reads[] = {
		BPF_MAP_LOOKUP_ELEM,   BPF_MAP_GET_NEXT_KEY,   BPF_OBJ_GET,
		BPF_PROG_GET_NEXT_ID,  BPF_MAP_GET_NEXT_ID,    BPF_PROG_GET_FD_BY_ID,
		BPF_MAP_GET_FD_BY_ID,  BPF_OBJ_GET_INFO_BY_FD, BPF_PROG_QUERY,
		BPF_BTF_GET_FD_BY_ID,  BPF_BTF_GET_NEXT_ID,    BPF_MAP_LOOKUP_BATCH,
		BPF_LINK_GET_FD_BY_ID, BPF_LINK_GET_NEXT_ID,
	};

	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		if (reads[i] == command)
			return true;
	}
	return false;
}

/* Does the system call change something, if it succeeds? */
static bool is_write(const struct __ptrace_syscall_info *info)
{
	uint64_t flags = info->entry.args[2];

	switch (info->entry.nr) {
	case SYS_bpf:
		return !only_reads(info->entry.args[0]);
	case SYS_openat:
		return flags & (O_CREAT | O_TRUNC);
	case SYS_mkdir:
	case SYS_mkdirat:
	case SYS_rename:
	case SYS_renameat:
	case SYS_renameat2:
	case SYS_unlink:
	case SYS_unlinkat:
	case SYS_rmdir:
	case SYS_chmod:
	case SYS_fchmod:
	case SYS_ftruncate:
	case SYS_mount:
		return true;
	default:
		return false;
	}
}

static void list_write(struct job *job, const struct __ptrace_syscall_info *info)
{
	if (info->op == PTRACE_SYSCALL_INFO_ENTRY) {
		job->is_write = is_write(info);
		job->command = info->entry.args[0];
	} else if (info->op == PTRACE_SYSCALL_INFO_EXIT && job->is_write && !info->exit.is_error) {
		if (job->last == SYS_bpf)
			printf("bpf %llu\n", (unsigned long long)job->command);
		else
			printf("system call %llu\n", (unsigned long long)job->last);
	}
}

/* Is what the descriptor leads to of this kind? "anon_inode:bpf_link", for example. */
static bool is_kind(pid_t pid, uint64_t fd, const char *kind)
{
	char path[64], target[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, (int)fd);
	return readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, kind);
}

/* Makes something that ends with the process, unless another call gives it a name or a place. */
static bool is_own(uint64_t command)
{
	return command == BPF_MAP_CREATE || command == BPF_PROG_LOAD || command == BPF_BTF_LOAD ||
	       command == BPF_PROG_BIND_MAP;
}

/* Does what a kill leaves not depend on whether this was done? A link that is not pinned goes with
 * its descriptor, and reading from an iterator runs its program. */
static bool is_harmless(pid_t pid, const struct __ptrace_syscall_info *info)
{
	const uint64_t *args = info->entry.args;

	switch (info->entry.nr) {
	case SYS_bpf:
		return only_reads(args[0]) || is_own(args[0]);
	case SYS_close:
		return !is_kind(pid, args[0], "bpf_link");
	case SYS_read:
		return !is_kind(pid, args[0], "bpf_iter");
	case SYS_openat:
		return !(args[2] & (O_CREAT | O_TRUNC));
	case SYS_write:
		return args[0] == 1 || args[0] == 2;
	case SYS_access:
	case SYS_brk:
	case SYS_clock_gettime:
	case SYS_clock_nanosleep:
	case SYS_fcntl:
	case SYS_fstat:
	case SYS_fstatfs:
	case SYS_futex:
	case SYS_getdents64:
	case SYS_geteuid:
	case SYS_getpid:
	case SYS_getrandom:
	case SYS_lseek:
	case SYS_mmap:
	case SYS_mprotect:
	case SYS_munmap:
	case SYS_newfstatat:
	case SYS_pread64:
	case SYS_prlimit64:
	case SYS_readlink:
	case SYS_readlinkat:
	case SYS_rt_sigaction:
	case SYS_rt_sigprocmask:
	case SYS_statfs:
	case SYS_statx:
	case SYS_sysinfo:
	case SYS_uname:
		return true;
	default:
		return false;
	}
}

static struct mapping *mapping_at(struct job *job, uint64_t at)
{
	for (size_t i = 0; i < sizeof(job->mappings) / sizeof(job->mappings[0]); i++) {
		if (job->mappings[i].at == at)
			return &job->mappings[i];
	}
	return NULL;
}

/* Is there something else in the map than when it was last looked at? */
static bool is_stored_to(struct mapping *m, pid_t pid)
{
	void *now = malloc(m->size);
	struct iovec here = { now, m->size };
	struct iovec there = { (void *)(uintptr_t)m->at, m->size };
	bool changed;

	if (!now || !m->copy || process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)m->size)
		die("process_vm_readv");
	changed = memcmp(now, m->copy, m->size);
	free(m->copy);
	m->copy = now;
	return changed;
}

static void note_mapping(struct job *job, pid_t pid, uint64_t at, size_t size)
{
	struct mapping *m = mapping_at(job, 0);

	if (!m)
		die("too many mapped maps");
	*m = (struct mapping){ at, size, calloc(1, size) };
	is_stored_to(m, pid);
}

static void forget_mapping(struct job *job, uint64_t at)
{
	struct mapping *m = mapping_at(job, at);

	if (!m)
		return;
	free(m->copy);
	*m = (struct mapping){};
}

static void look_for_stores(struct job *job, pid_t pid)
{
	for (size_t i = 0; i < sizeof(job->mappings) / sizeof(job->mappings[0]); i++) {
		if (job->mappings[i].at && is_stored_to(&job->mappings[i], pid))
			job->changed = true;
	}
}

static void leave(struct job *job, pid_t pid, const struct __ptrace_syscall_info *info)
{
	const uint64_t *args = job->entry.entry.args;
	uint64_t nr = job->entry.entry.nr;

	if (info->exit.is_error)
		return;
	if (!job->is_harmless)
		job->changed = true;
	if (nr == SYS_mmap && args[2] & PROT_WRITE && args[3] & MAP_SHARED &&
	    !(args[3] & MAP_ANONYMOUS))
		note_mapping(job, pid, (uint64_t)info->exit.rval, args[1]);
	else if (nr == SYS_munmap)
		forget_mapping(job, args[0]);
}

/* The command is about to make a system call. True: it is the one. */
static bool at_entry(struct job *job, pid_t pid, const struct __ptrace_syscall_info *info)
{
	uint64_t nr = info->entry.nr;
	bool changed;

	if (job->type && nr == SYS_bpf && info->entry.args[0] == BPF_PROG_LOAD)
		spoil(pid, info->entry.args[1], job->type);
	job->last = nr;
	job->entry = *info;
	job->is_harmless = is_harmless(pid, info);
	look_for_stores(job, pid);
	changed = job->changed;
	job->changed = false;
	return changed && job->seen++ == job->number;
}

/* Go on to the next stop; the command's wait status. */
static int go_on(pid_t pid, int deliver)
{
	int status;

	if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)deliver) ||
	    waitpid(pid, &status, 0) != pid)
		die("ptrace");
	return status;
}

static int finish(const struct job *job, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	if (job->number < 0)
		return code;
	printf("exited %ld %d\n", job->seen, code);
	return 0;
}

static void begin(struct job *job)
{
	job->seen = 0;
	job->changed = true;
}

static int trace(struct job *job, pid_t pid)
{
	struct __ptrace_syscall_info info;
	int status, deliver = 0;

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return finish(job, status);
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL,
		   (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC)))
		die("PTRACE_SETOPTIONS");
	for (;;) {
		status = go_on(pid, deliver);
		deliver = 0;
		if (!WIFSTOPPED(status))
			return finish(job, status);
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			/* After execve: nothing before it counts. */
			if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXEC << 8)))
				begin(job);
			else
				deliver = WSTOPSIG(status);
			continue;
		}
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) <= 0)
			die("PTRACE_GET_SYSCALL_INFO");
		if (job->writes)
			list_write(job, &info);
		if (info.op == PTRACE_SYSCALL_INFO_EXIT)
			leave(job, pid, &info);
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !at_entry(job, pid, &info))
			continue;
		if (kill(pid, SIGKILL) || waitpid(pid, &status, 0) != pid)
			die("kill");
		printf("killed %ld %llu\n", job->number, (unsigned long long)info.entry.nr);
		return 0;
	}
}

int main(int argc, char **argv)
{
	struct job job = { .number = -1 };
	pid_t pid;
	int opt;

	while ((opt = getopt(argc, argv, "+t:w")) != -1) {
		if (opt == 'w')
			job.writes = true;
		else if (opt == 't')
			job.type = (uint32_t)strtoul(optarg, NULL, 10);
		else
			return 126;
	}
	if (!job.type && !job.writes && optind < argc)
		job.number = strtol(argv[optind++], NULL, 10);
	if (optind >= argc) {
		fprintf(stderr,
			"usage: killat N COMMAND... | -t TYPE COMMAND... | -w COMMAND...\n");
		return 126;
	}
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		run_command(argv + optind, !job.type);
	return trace(&job, pid);
}
