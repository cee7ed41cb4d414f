// SPDX-License-Identifier: GPL-2.0-only
/* Why bpf(2) was refused, in words: user/os/refusal.c. */
#include "unit.h"

#include "os/refusal.h"

#define USUAL .root = true, .sysfs = true, .btf = true, .release = "6.18.0-1-amd64"

static const struct {
	int err;
	struct ps_facts facts;
	enum ps_exit status;
	const char *why, *advice; /* parts of them */
} rows[] = {
	{ EPERM,
	  { .sysfs = true, .btf = true, .release = "6.18" },
	  PS_EXIT_NOT_PERMITTED,
	  "lacks the necessary privileges",
	  "as root with CAP_SYS_ADMIN and CAP_NET_ADMIN" },
	{ EPERM,
	  { .sysfs = true, .btf = true, .selinux = true, .confidential = true },
	  PS_EXIT_NOT_PERMITTED,
	  "lacks the necessary privileges",
	  "as root" },
	{ EMFILE, { USUAL }, PS_EXIT_FAILED, "file descriptors", "ulimit -n" },
	{ ENOMEM, { USUAL }, PS_EXIT_FAILED, "memory", "ulimit -v" },
	/* libbpf's, where it could not read the kernel's types though they are there. */
	{ ESRCH, { USUAL }, PS_EXIT_FAILED, "memory", "ulimit -v" },
	/* The verifier's, in a unit that filters system calls. */
	{ EACCES, { USUAL, .seccomp = true }, PS_EXIT_UNSUPPORTED, "recent enough", "CONFIG_BPF" },
	{ EACCES,
	  { .root = true, .sysfs = true, .btf = true, .seccomp = true, .release = "5.15.0" },
	  PS_EXIT_UNSUPPORTED,
	  "Linux 5.15.0 is too old",
	  "use Linux 6.1" },
	{ EPERM, { USUAL }, PS_EXIT_NOT_PERMITTED, "security module", "/sys/kernel/security/lsm" },
	{ EPERM,
	  { USUAL, .user_namespace = true },
	  PS_EXIT_NOT_PERMITTED,
	  "user namespace",
	  "on the host" },
	{ EINVAL,
	  { USUAL, .confidential = true },
	  PS_EXIT_NOT_PERMITTED,
	  "mode 'confidentiality'",
	  "lockdown=integrity" },
	{ EPERM,
	  { USUAL, .confidential = true },
	  PS_EXIT_NOT_PERMITTED,
	  "mode 'confidentiality'",
	  "lockdown=integrity" },
	{ EACCES,
	  { USUAL, .selinux = true },
	  PS_EXIT_NOT_PERMITTED,
	  "SELinux (enforcing) probably denies it",
	  "audit" },
	{ EPERM,
	  { USUAL, .apparmor = "docker-default" },
	  PS_EXIT_NOT_PERMITTED,
	  "AppArmor profile docker-default probably denies it",
	  "audit" },
	{ EPERM,
	  { USUAL, .seccomp = true },
	  PS_EXIT_NOT_PERMITTED,
	  "a system call filter (of a container or a unit) probably denies it",
	  "allow bpf(2) for portsteer in it" },
	{ EPERM,
	  { USUAL, .selinux = true, .apparmor = "a", .seccomp = true },
	  PS_EXIT_NOT_PERMITTED,
	  "SELinux (enforcing) or AppArmor profile a or a system call filter",
	  "audit" },
	/* Nothing was forbidden. */
	{ EINVAL,
	  { USUAL, .selinux = true, .apparmor = "a", .seccomp = true, .user_namespace = true },
	  PS_EXIT_UNSUPPORTED,
	  "Linux 6.18.0-1-amd64 is recent enough",
	  "CONFIG_CGROUP_BPF" },
	{ EACCES, { USUAL }, PS_EXIT_UNSUPPORTED, "is recent enough", "CONFIG_BPF_SYSCALL" },
	{ ESRCH,
	  { .root = true, .sysfs = true, .release = "6.18" },
	  PS_EXIT_UNSUPPORTED,
	  "no /sys/kernel/btf/vmlinux",
	  "CONFIG_DEBUG_INFO_BTF" },
	{ ESRCH,
	  { .root = true, .release = "6.18" },
	  PS_EXIT_UNSUPPORTED,
	  "sysfs is not mounted",
	  "mount -t sysfs sysfs /sys" },
	{ EINVAL,
	  { .root = true, .sysfs = true, .btf = true, .release = "5.15.0" },
	  PS_EXIT_UNSUPPORTED,
	  "Linux 5.15.0 is too old",
	  "use Linux 6.1 or newer" },
	{ EINVAL,
	  { .root = true, .sysfs = true, .btf = true, .release = "6.0.19" },
	  PS_EXIT_UNSUPPORTED,
	  "too old",
	  "Linux 6.1" },
	{ EINVAL,
	  { .root = true, .sysfs = true, .btf = true, .release = "6.1.0" },
	  PS_EXIT_UNSUPPORTED,
	  "recent enough",
	  "CONFIG_" },
	{ EINVAL,
	  { .root = true, .sysfs = true, .btf = true, .release = "strange" },
	  PS_EXIT_UNSUPPORTED,
	  "recent enough",
	  "CONFIG_" },
};

static void test_words(void **state)
{
	struct ps_why why;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_SIZE(rows); i++) {
		ROW("%zu: %s", i, rows[i].why);
		ps_why(rows[i].err, &rows[i].facts, &why);
		CHECK_EQ(why.status, rows[i].status);
		CHECK_MSG(strstr(why.why, rows[i].why), "%s", why.why);
		CHECK_MSG(strstr(why.advice, rows[i].advice), "%s", why.advice);
	}
}

/* The longest are whole. */
static void test_lengths(void **state)
{
	struct ps_facts facts = { USUAL, .selinux = true, .seccomp = true };
	struct ps_why why;

	(void)state;
	memset(facts.apparmor, 'a', sizeof(facts.apparmor) - 1);
	ps_why(EPERM, &facts, &why);
	CHECK(strlen(why.why) < sizeof(why.why) - 1 && strstr(why.why, "probably denies it"));
	CHECK(strlen(why.advice) < sizeof(why.advice) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
